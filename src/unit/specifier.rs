//! `%` specifiers (systemd.unit(5), SPECIFIERS), and the escaping of unit names.
//!
//! Not looking anything up: the caller gives what is true of the host. **Invariant:** the same
//! name, file and facts always expand to the same text.

#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use super::instances::MARK;
use super::name::UnitName;
use super::value::ValueError;

/// What specifiers tell about the machine and about rinit's own user. `None`, and an empty
/// `os_release`: not to be had here, so that a specifier for it is an error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostFacts {
    /// `%H`, and up to its first dot `%l`.
    pub hostname: String,
    /// `%q`: `PRETTY_HOSTNAME` of machine-info(5); `None`: the host name.
    pub pretty_hostname: Option<String>,
    /// `%m`: machine-id(5).
    pub machine_id: Option<String>,
    /// `%b`: the boot's id, without dashes.
    pub boot_id: Option<String>,
    /// `%v`: `uname -r`.
    pub kernel_release: String,
    /// `%a`: systemd's name, as in `x86-64`.
    pub architecture: String,
    /// `%u`: rinit's own user.
    pub user_name: String,
    /// `%U`.
    pub uid: u32,
    /// `%g`: rinit's own group.
    pub group_name: String,
    /// `%G`.
    pub gid: u32,
    /// `%h`: rinit's own home directory, not that of `User=`.
    pub home: String,
    /// `%s`: rinit's own shell.
    pub shell: String,
    /// `%t`; below it `%d`.
    pub runtime_dir: String,
    /// `%S`.
    pub state_dir: String,
    /// `%C`.
    pub cache_dir: String,
    /// `%L`.
    pub logs_dir: String,
    /// `%E`.
    pub config_dir: String,
    /// `%T`: `$TMPDIR`, `$TEMP` or `$TMP`, else this.
    pub tmp: String,
    /// `%V`: as `%T`, else `/var/tmp`.
    pub var_tmp: String,
    /// os-release(5): `%o %w %W %M %A %B`; a field that is not in it is empty.
    pub os_release: BTreeMap<String, String>,
}

impl Default for HostFacts {
    /// A host called `localhost` where rinit is root, with systemd's directories.
    fn default() -> HostFacts {
        HostFacts {
            hostname: "localhost".to_string(),
            pretty_hostname: None,
            machine_id: None,
            boot_id: None,
            kernel_release: String::new(),
            architecture: "x86-64".to_string(),
            user_name: "root".to_string(),
            uid: 0,
            group_name: "root".to_string(),
            gid: 0,
            home: "/root".to_string(),
            shell: "/bin/sh".to_string(),
            runtime_dir: "/run".to_string(),
            state_dir: "/var/lib".to_string(),
            cache_dir: "/var/cache".to_string(),
            logs_dir: "/var/log".to_string(),
            config_dir: "/etc".to_string(),
            tmp: "/tmp".to_string(),
            var_tmp: "/var/tmp".to_string(),
            os_release: BTreeMap::new(),
        }
    }
}

/// What the specifiers in one unit's values stand for.
#[derive(Clone, Copy, Debug)]
pub struct Specifiers<'a> {
    /// The unit.
    pub unit: &'a UnitName,
    /// Its main file; `None` for the COMMAND of the command line.
    pub fragment: Option<&'a Path>,
    /// The host.
    pub host: &'a HostFacts,
    /// It is a service with `Instances=`, or a template: what differs between its instances is a
    /// mark.
    pub instances: bool,
}

impl Specifiers<'_> {
    /// Replaces every specifier in `text`.
    ///
    /// # Errors
    /// An unknown specifier (systemd keeps those as they are, which hides mistakes), one that
    /// cannot be resolved here, or a `%` at the end; the range is the specifier's.
    pub fn expand(&self, text: &str) -> Result<String, ValueError> {
        if self.instances && text.contains(MARK) {
            return Err(ValueError::new("it holds the noncharacter U+FDD0, which rinit needs"));
        }
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            result.push_str(before);
            let start = text.len() - after.len() - 1;
            let Some(letter) = after.chars().next() else {
                let error = ValueError::new("a % at the end stands for nothing");
                return Err(error.at(start..text.len()).hint(LITERAL));
            };
            let range = start..start + 1 + letter.len_utf8();
            result.push_str(&self.resolve(letter, range)?);
            rest = after.get(letter.len_utf8()..).unwrap_or_default();
        }
        result.push_str(rest);
        Ok(result)
    }

    fn resolve(&self, letter: char, range: Range<usize>) -> Result<String, ValueError> {
        if letter == '%' {
            return Ok("%".to_string());
        }
        if let Some(marked) = self.of_instance(letter) {
            return Ok(marked);
        }
        if let Some(resolved) = self.of_unit(letter) {
            let unresolved = |why| {
                let unit = self.unit;
                ValueError::new(format!("%{letter} cannot be resolved for {unit}: {why}"))
            };
            return resolved.map_err(|why| unresolved(why).at(range));
        }
        let found = self.of_host(letter).or_else(|| self.of_os(letter)).ok_or_else(|| {
            let error = ValueError::new(format!("%{letter} is no specifier"));
            error.at(range.clone()).hint(LITERAL)
        })?;
        found.ok_or_else(|| {
            let error = ValueError::new(format!("%{letter} is not known on this host"));
            error.at(range).hint(LITERAL)
        })
    }

    /// What differs between the instances of a service, with a mark for the number: their
    /// names are `web@1.service` and so on.
    fn of_instance(&self, letter: char) -> Option<String> {
        if !self.instances {
            return None;
        }
        let (stem, suffix) = (self.unit.prefix(), self.unit.kind().suffix());
        let name = format!("{stem}@{MARK}{suffix}");
        match letter {
            'i' | 'I' => Some(MARK.to_string()),
            'n' => Some(name),
            'N' => Some(format!("{stem}@{MARK}")),
            'f' => Some(format!("/{MARK}")),
            'd' => Some(format!("{}/credentials/{name}", self.host.runtime_dir)),
            _ => None,
        }
    }

    /// What the name and the file of the unit tell; `None`: another kind of letter.
    fn of_unit(&self, letter: char) -> Option<Result<String, String>> {
        let unit = self.unit;
        let last_part = || unit.prefix().rsplit_once('-').map_or(unit.prefix(), |(_, last)| last);
        let decoded = |name: &str| unescape(name).map_err(|error| error.message);
        let fragment = || self.fragment.ok_or_else(|| "it has no file".to_string());
        let shown = |path: &Path| path.to_str().map(str::to_string).ok_or("it is no UTF-8".into());
        Some(match letter {
            'n' => Ok(unit.as_str().to_string()),
            'N' => Ok(unit.stem().to_string()),
            'p' => Ok(unit.prefix().to_string()),
            'P' => decoded(unit.prefix()),
            'i' => Ok(unit.instance().unwrap_or_default().to_string()),
            'I' => decoded(unit.instance().unwrap_or_default()),
            'j' => Ok(last_part().to_string()),
            'J' => decoded(last_part()),
            'f' => {
                let name = unit.instance().filter(|instance| !instance.is_empty());
                unescape_path(name.unwrap_or(unit.prefix())).map_err(|error| error.message)
            }
            'd' => Ok(format!("{}/credentials/{unit}", self.host.runtime_dir)),
            'y' => fragment().and_then(shown),
            'Y' => fragment().and_then(|path| shown(path.parent().unwrap_or(path))),
            _ => return None,
        })
    }

    /// What the host tells; the inner `None`: it does not know.
    fn of_host(&self, letter: char) -> Option<Option<String>> {
        let host = self.host;
        let short = || host.hostname.split('.').next().unwrap_or_default().to_string();
        Some(match letter {
            't' => Some(host.runtime_dir.clone()),
            'S' => Some(host.state_dir.clone()),
            'C' => Some(host.cache_dir.clone()),
            'L' => Some(host.logs_dir.clone()),
            'E' => Some(host.config_dir.clone()),
            'T' => Some(host.tmp.clone()),
            'V' => Some(host.var_tmp.clone()),
            'h' => Some(host.home.clone()),
            's' => Some(host.shell.clone()),
            'u' => Some(host.user_name.clone()),
            'U' => Some(host.uid.to_string()),
            'g' => Some(host.group_name.clone()),
            'G' => Some(host.gid.to_string()),
            'H' => Some(host.hostname.clone()),
            'l' => Some(short()),
            'q' => Some(host.pretty_hostname.clone().unwrap_or_else(|| host.hostname.clone())),
            'm' => host.machine_id.clone(),
            'b' => host.boot_id.clone(),
            'v' => Some(host.kernel_release.clone()),
            'a' => Some(host.architecture.clone()),
            _ => return None,
        })
    }

    /// What os-release(5) tells; the inner `None`: there is no such file.
    fn of_os(&self, letter: char) -> Option<Option<String>> {
        let field = match letter {
            'o' => "ID",
            'w' => "VERSION_ID",
            'W' => "VARIANT_ID",
            'M' => "IMAGE_ID",
            'A' => "IMAGE_VERSION",
            'B' => "BUILD_ID",
            _ => return None,
        };
        let os = &self.host.os_release;
        Some((!os.is_empty()).then(|| os.get(field).cloned().unwrap_or_default()))
    }
}

const LITERAL: &str = "write %% for a percent sign";

/// Escapes any text for a part of a unit's name: `/` is `-`, and what may not stand there is
/// `\xXX` (systemd.unit(5), STRING ESCAPING; `systemd-escape`).
pub fn escape(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'.');
        if byte == b'/' {
            result.push('-');
        } else if plain && !(at == 0 && byte == b'.') {
            result.push(char::from(byte));
        } else {
            result.push_str(&format!("\\x{byte:02x}"));
        }
    }
    result
}

/// Escapes a path: without slashes at its ends and doubled ones, `/` itself is `-`
/// (`systemd-escape --path`).
///
/// # Errors
/// The path holds `..`.
pub fn escape_path(path: &str) -> Result<String, ValueError> {
    let parts: Vec<&str> =
        path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err(ValueError::new(format!("{path:?} holds .. and cannot be a unit's name")));
    }
    Ok(if parts.is_empty() { "-".to_string() } else { escape(&parts.join("/")) })
}

/// Takes [`escape`] back.
///
/// # Errors
/// A backslash that begins no `\xXX`, or bytes that are no UTF-8.
pub fn unescape(name: &str) -> Result<String, ValueError> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match c {
            '-' => bytes.push(b'/'),
            '\\' => {
                let start = name.len() - rest.len();
                let digits = rest.get(1..4).and_then(|escape| escape.strip_prefix('x'));
                let digits = digits.filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
                let byte = digits.and_then(|text| u8::from_str_radix(text, 16).ok());
                bytes.push(byte.filter(|byte| *byte != 0).ok_or_else(|| {
                    let error = ValueError::new(format!("{name:?} holds a \\ that is no \\xXX"));
                    error.at(start..start + 1)
                })?);
                taken = 4;
            }
            _ => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    String::from_utf8(bytes)
        .map_err(|_| ValueError::new(format!("{name:?} unescapes to bytes that are no UTF-8")))
}

/// Takes [`escape_path`] back: an absolute path.
///
/// # Errors
/// As [`unescape`], and where the result is no normalized path.
pub fn unescape_path(name: &str) -> Result<String, ValueError> {
    if name == "-" {
        return Ok("/".to_string());
    }
    let path = unescape(name)?;
    let odd = |part: &str| part.is_empty() || part == "." || part == "..";
    if path.split('/').any(odd) {
        return Err(ValueError::new(format!("{name:?} unescapes to {path:?}, which is no path")));
    }
    Ok(format!("/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(unit: &str, text: &str) -> Result<String, ValueError> {
        let unit = UnitName::parse(unit).unwrap();
        let host = HostFacts {
            hostname: "box.example.org".to_string(),
            machine_id: Some("0123".to_string()),
            kernel_release: "6.1".to_string(),
            os_release: [("ID".to_string(), "debian".to_string())].into(),
            ..HostFacts::default()
        };
        let fragment = Some(Path::new("/etc/rinit/web.toml"));
        Specifiers { unit: &unit, fragment, host: &host, instances: false }.expand(text)
    }

    #[test]
    fn names() {
        let unit = r"my-web@a-b\x2dc.service";
        for (text, expected) in [
            ("%n", unit),
            ("%N", r"my-web@a-b\x2dc"),
            ("%p|%P", "my-web|my/web"),
            ("%i|%I", r"a-b\x2dc|a/b-c"),
            ("%j|%J", "web|web"),
            ("%f", "/a/b-c"),
            ("%d", r"/run/credentials/my-web@a-b\x2dc.service"),
            ("100%%i", "100%i"),
            ("plain é", "plain é"),
        ] {
            assert_eq!(expand(unit, text).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(
            expand("srv-data.service", "%i|%I|%f|%p|%j").as_deref(),
            Ok("||/srv/data|srv-data|data")
        );
    }

    #[test]
    fn hosts() {
        for (text, expected) in [
            ("%H %l %q", "box.example.org box box.example.org"),
            ("%t %S %C %L %E", "/run /var/lib /var/cache /var/log /etc"),
            ("%T %V", "/tmp /var/tmp"),
            ("%u %U %g %G %h %s", "root 0 root 0 /root /bin/sh"),
            ("%m %v %a", "0123 6.1 x86-64"),
            ("%o[%w%W%M%A%B]", "debian[]"),
            ("%y %Y", "/etc/rinit/web.toml /etc/rinit"),
        ] {
            assert_eq!(expand("web.service", text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_expanded() {
        for (text, message, range) in [
            ("a %Q", "%Q is no specifier", 2..4),
            ("é%é", "%é is no specifier", 2..5),
            ("100%", "a % at the end stands for nothing", 3..4),
            ("%b", "%b is not known on this host", 0..2),
        ] {
            let error = expand("web.service", text).unwrap_err();
            assert_eq!((error.message.as_str(), error.range), (message, Some(range)), "{text}");
        }
        assert!(expand(r"web@\x.service", "%I").is_err());
        assert_eq!(expand(r"web@\x.service", "%i").as_deref(), Ok(r"\x"));
        let unit = UnitName::parse("main.service").unwrap();
        let host = HostFacts::default();
        let bare = Specifiers { unit: &unit, fragment: None, host: &host, instances: false };
        for text in ["%y", "%Y", "%m", "%o"] {
            assert!(bare.expand(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_escaped_and_back() {
        for (text, escaped) in [
            ("foo/bar", "foo-bar"),
            ("foo-bar", r"foo\x2dbar"),
            (".hidden", r"\x2ehidden"),
            ("a.b_c:d", "a.b_c:d"),
            ("é\\", r"\xc3\xa9\x5c"),
            ("", ""),
        ] {
            assert_eq!(escape(text), escaped);
            assert_eq!(unescape(escaped).as_deref(), Ok(text));
        }
        for (path, escaped, back) in [
            ("/", "-", "/"),
            ("//a///b/", "a-b", "/a/b"),
            ("/a/./b", "a-b", "/a/b"),
            ("/.x", r"\x2ex", "/.x"),
        ] {
            assert_eq!(escape_path(path).as_deref(), Ok(escaped));
            assert_eq!(unescape_path(escaped).as_deref(), Ok(back));
        }
        assert!(escape_path("/a/../b").is_err());
        for name in [r"\", r"\x", r"\x0", r"\xg0", r"\x00", r"\xff", r"\y41"] {
            assert!(unescape(name).is_err(), "{name}");
        }
        for name in ["", "a--b", "..", "-a"] {
            assert!(unescape_path(name).is_err(), "{name}");
        }
    }
}
