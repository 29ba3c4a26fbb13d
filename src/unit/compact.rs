//! The units as PID 1 keeps them: copied once they are checked, without what only the check
//! needed, and with what they have in common kept once.
//!
//! Not a change of meaning. **Invariant:** the copy shares no memory with the original, so all
//! that reading the files took can be given back; and no unit knows its place in a file any more.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::command::ExecCommand;
use super::service::{ExecContext, Service, ServiceSettings};
use super::shared::{Pool, Shared};
use super::slice::Slice;
use super::socket::Socket;
use super::tree::tree;
use super::{Dependency, SourceFile, Unit, UnitName, UnitSet, UnitSettings};

/// A copy that is as small as it can be.
pub fn compact(set: &UnitSet) -> UnitSet {
    let mut copier = Copier {
        names: tree(set.units.keys().map(|name| (name, name.copied()))),
        settings: Pool::default(),
        lists: Pool::default(),
        commands: Pool::default(),
        services: Pool::default(),
        contexts: Pool::default(),
    };
    let mut copy = UnitSet::new(set.units.values().map(|unit| Arc::new(copier.unit(unit))));
    copy.slices = set.slices.values().map(|it| (it.name.copied(), copier.slice(it))).collect();
    copy
}

struct Copier<'a> {
    names: BTreeMap<&'a UnitName, UnitName>,
    settings: Pool<UnitSettings>,
    lists: Pool<Vec<Dependency>>,
    commands: Pool<Vec<ExecCommand>>,
    services: Pool<ServiceSettings>,
    contexts: Pool<ExecContext>,
}

impl Copier<'_> {
    fn unit(&mut self, unit: &Unit) -> Unit {
        let settings = self.settings(unit);
        Unit {
            name: self.name(&unit.name),
            file: unit.file.as_deref().map(path_only),
            started_by: unit.started_by,
            step: unit.step,
            description: unit.description.clone(),
            requires: self.list(&unit.requires),
            wants: self.list(&unit.wants),
            after: self.list(&unit.after),
            settings: self.settings.copy(&settings),
            service: Service {
                exec_start: self.commands.copy(&unit.service.exec_start),
                exec: self.contexts.copy(&unit.service.exec),
                settings: self.services.copy(&self.service(&unit.service.settings)),
            },
        }
    }

    fn settings(&self, unit: &UnitSettings) -> UnitSettings {
        UnitSettings {
            requisite: self.dependencies(&unit.requisite),
            binds_to: self.dependencies(&unit.binds_to),
            part_of: self.dependencies(&unit.part_of),
            upholds: self.dependencies(&unit.upholds),
            conflicts: self.dependencies(&unit.conflicts),
            before: self.dependencies(&unit.before),
            on_failure: self.dependencies(&unit.on_failure),
            on_success: self.dependencies(&unit.on_success),
            sockets: self.dependencies(&unit.sockets),
            socket: unit.socket.as_deref().map(|socket| Box::new(self.socket(socket))),
            instance_of: unit.instance_of.as_ref().map(|name| self.name(name)),
            connection_of: unit.connection_of.as_ref().map(|name| self.name(name)),
            ..unit.clone()
        }
    }

    fn service(&self, settings: &ServiceSettings) -> ServiceSettings {
        let mut copy = settings.clone();
        if let Some(slice) = copy.resources.as_mut().and_then(|it| it.slice.as_mut()) {
            *slice = self.dependency(slice);
        }
        copy
    }

    fn slice(&self, slice: &Slice) -> Arc<Slice> {
        let (name, file) = (slice.name.copied(), slice.file.as_deref().map(path_only));
        Arc::new(Slice { name, file, resources: slice.resources.clone() })
    }

    fn socket(&self, socket: &Socket) -> Socket {
        let service = socket.service.as_ref().map(|name| self.name(name));
        let mut copy = Socket { service, ..socket.clone() };
        copy.listen.shrink_to_fit();
        copy
    }

    /// Mostly there is none, or the last step.
    fn list(&mut self, list: &[Dependency]) -> Shared<Vec<Dependency>> {
        let list = self.dependencies(list);
        self.lists.copy(&list)
    }

    fn dependencies(&self, list: &[Dependency]) -> Vec<Dependency> {
        list.iter().map(|dependency| self.dependency(dependency)).collect()
    }

    fn dependency(&self, dependency: &Dependency) -> Dependency {
        Dependency { name: self.name(&dependency.name), span: None }
    }

    fn name(&self, name: &UnitName) -> UnitName {
        self.names.get(name).cloned().unwrap_or_else(|| name.copied())
    }
}

/// Nobody shows a line of it any more.
fn path_only(file: &SourceFile) -> Arc<SourceFile> {
    Arc::new(SourceFile { path: file.path.clone(), text: String::new() })
}

#[cfg(test)]
mod tests {
    use super::super::Span;
    use super::super::resources::Resources;
    use super::*;

    fn unit(name: &str, program: &str) -> Unit {
        let mut unit = Unit::new(UnitName::parse(name).unwrap());
        let command = ExecCommand::from_argv(vec![program.to_string()]).unwrap();
        unit.service.exec_start.push(command);
        unit
    }

    #[test]
    fn equal_parts_are_kept_once_and_nothing_is_lost() {
        let mut a = unit("a.service", "/one");
        let file = SourceFile { path: "/etc/a.toml".into(), text: "x".to_string() };
        let file = Arc::new(file);
        a.file = Some(Arc::clone(&file));
        a.service.exec.nice = Some(3);
        let name = UnitName::parse("b.service").unwrap();
        let dependency =
            Dependency { name, span: Some(Span { file: Arc::clone(&file), range: 0..1 }) };
        a.after.push(dependency.clone());
        a.upholds.push(dependency);
        let name = UnitName::parse("app.slice").unwrap();
        let span = Some(Span { file: Arc::clone(&file), range: 0..1 });
        let slice = Some(Dependency { name: name.clone(), span });
        let mut e = unit("e.service", "/one");
        e.service.resources = Some(Box::new(Resources { slice, ..Resources::default() }));
        let app = Slice { name, file: Some(file), resources: Resources::default() };
        let mut d = Unit::new(UnitName::parse("d.socket").unwrap());
        let service = Some(UnitName::parse("b.service").unwrap());
        d.socket = Some(Box::new(Socket { service, ..Socket::default() }));
        let all = [a, unit("b.service", "/one"), unit("c.service", "/two"), d, e];
        let units = all.map(|unit| (unit.name.clone(), Arc::new(unit)));
        let slices = [(app.name.clone(), Arc::new(app))].into();
        let set = UnitSet { units: units.into(), slices };
        let copy = compact(&set);
        let mut expected = set.clone();
        for unit in expected.units.values_mut().map(Arc::make_mut) {
            unit.file = unit.file.as_deref().map(path_only);
            unit.after.iter_mut().for_each(|dependency| dependency.span = None);
            unit.upholds.iter_mut().for_each(|dependency| dependency.span = None);
            let resources = unit.service.resources.iter_mut();
            resources.flat_map(|it| it.slice.as_mut()).for_each(|slice| slice.span = None);
        }
        for slice in expected.slices.values_mut().map(Arc::make_mut) {
            slice.file = slice.file.as_deref().map(path_only);
        }
        assert_eq!(copy, expected);
        let [a, b, c] = ["a.service", "b.service", "c.service"]
            .map(|name| copy.get(&UnitName::parse(name).unwrap()).unwrap());
        let same = |x: &Vec<ExecCommand>, y: &Vec<ExecCommand>| std::ptr::eq(x, y);
        assert!(same(&a.service.exec_start, &b.service.exec_start));
        assert!(!same(&b.service.exec_start, &c.service.exec_start));
        assert!(std::ptr::eq(&*b.service.exec, &*c.service.exec));
        assert!(std::ptr::eq(&*b.settings, &*c.settings));
        assert!(std::ptr::eq(&*a.service.settings, &*c.service.settings));
        assert_eq!(a.after[0].name.as_str().as_ptr(), b.name.as_str().as_ptr());
        let d = copy.get(&UnitName::parse("d.socket").unwrap()).unwrap();
        let service = d.socket.as_ref().unwrap().service.as_ref().unwrap();
        assert_eq!(service.as_str().as_ptr(), b.name.as_str().as_ptr());
    }
}
