//! Writes a subject's own configuration for a job and gives the command line that reads it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::gap::Gap;
use crate::job::{Job, Load};
use crate::subject::Subject;
use crate::tools::Tools;

const ONE_COMMAND: &str = "runs one command";
const SAME_COMMAND: &str = "a bare command always writes to rinit's own output";
const NO_ORDER: &str = "knows no order among services";

/// The command line, program first, for `subject` to do `job`; what it needs is written below `dir`.
pub fn configure(
    tools: &Tools,
    subject: Subject,
    job: Job,
    dir: &Path,
) -> Result<Vec<OsString>, Gap> {
    let program = subject.program(tools)?;
    let site = Site { app: [tools.payload().display().to_string(), job.app.word(dir)], dir };
    let args = match subject {
        Subject::Ideal => site.ideal(job.load),
        Subject::Rinit => site.rinit(job.load, "journal")?,
        Subject::RinitInherit if matches!(job.load, Load::Command) => {
            return Err(Gap::CannotDo(SAME_COMMAND));
        }
        Subject::RinitInherit => site.rinit(job.load, "inherit")?,
        Subject::Tini | Subject::TiniStatic | Subject::DumbInit => site.one_command(job.load)?,
        Subject::S6 => site.s6(job.load)?,
        Subject::Runit => site.runit(job.load)?,
        Subject::Supervisord => site.supervisord(job.load)?,
    };
    Ok([program.into_os_string()].into_iter().chain(args.into_iter().map(Into::into)).collect())
}

/// Where configuration is written, and the app that it is about.
struct Site<'a> {
    app: [String; 2],
    dir: &'a Path,
}

impl Site<'_> {
    fn ideal(&self, load: Load) -> Vec<String> {
        let words: Vec<String> = match load {
            Load::Command => vec!["run".into()],
            // A vfork returns when the exec has succeeded, so this is a chain by its nature.
            Load::Services(n) | Load::ServiceChain(n) => vec!["many".into(), n.to_string()],
            Load::Steps(n) => vec!["many".into(), n.to_string(), "chain".into()],
        };
        self.with_app(words)
    }

    fn one_command(&self, load: Load) -> Result<Vec<String>, Gap> {
        match load {
            Load::Command => Ok(self.with_app(vec!["--".into()])),
            Load::Services(_) | Load::Steps(_) | Load::ServiceChain(_) => {
                Err(Gap::CannotDo(ONE_COMMAND))
            }
        }
    }

    fn rinit(&self, load: Load, output: &str) -> Result<Vec<String>, Gap> {
        let units = match load {
            Load::Command => return Ok(self.with_app(vec!["--".into()])),
            Load::Services(n) => self.units(n, |_| self.service("simple", None, output)),
            Load::ServiceChain(n) => {
                self.units(n, |i| self.service("exec", i.checked_sub(1), output))
            }
            Load::Steps(n) => self.units(n, |_| self.step(output)),
        };
        let dir = units.map_err(Gap::io("rinit's units"))?;
        Ok(vec!["--log-level".into(), "warn".into(), "--units".into(), dir.display().to_string()])
    }

    fn units(&self, count: usize, text: impl Fn(usize) -> String) -> io::Result<PathBuf> {
        let dir = self.dir.join("units");
        fs::create_dir(&dir)?;
        for i in 0..count {
            fs::write(dir.join(format!("{}.toml", unit_name(i))), text(i))?;
        }
        Ok(dir)
    }

    fn service(&self, kind: &str, after: Option<usize>, output: &str) -> String {
        let after =
            after.map(|i| format!("After = [\"{}.service\"]\n", unit_name(i))).unwrap_or_default();
        format!(
            "[Unit]\n{after}StartLimitIntervalSec = 0\n\n\
             [Service]\nType = \"{kind}\"\nExecStart = {:?}\nRestart = \"always\"\nRestartSec = 0\n\
             StandardOutput = {output:?}\n",
            self.app
        )
    }

    fn step(&self, output: &str) -> String {
        let service = "[Service]\nType = \"oneshot\"\n";
        format!("{service}ExecStart = {:?}\nStandardOutput = {output:?}\n", self.app)
    }

    fn s6(&self, load: Load) -> Result<Vec<String>, Gap> {
        let dir = self.run_scripts(services(load)?)?;
        Ok(vec!["-c".into(), "4000".into(), dir])
    }

    fn runit(&self, load: Load) -> Result<Vec<String>, Gap> {
        let dir = self.run_scripts(services(load)?)?;
        // runsvdir waits a second when its directory has changed within the current one.
        let long_ago = SystemTime::now() - Duration::from_secs(60);
        let aged = File::open(&dir).and_then(|dir| dir.set_modified(long_ago));
        aged.map_err(Gap::io("run scripts"))?;
        Ok(vec![dir])
    }

    /// A directory of services as daemontools has it. The kernel runs a script's `#!` program without a shell.
    fn run_scripts(&self, count: usize) -> Result<String, Gap> {
        let dir = self.dir.join("services");
        let script = format!("#!{}\n", self.app.join(" "));
        let write = |i: usize| {
            let service = dir.join(unit_name(i));
            fs::create_dir_all(&service)?;
            let run = service.join("run");
            fs::write(&run, &script)?;
            fs::set_permissions(&run, fs::Permissions::from_mode(0o755))
        };
        (0..count).try_for_each(write).map_err(Gap::io("run scripts"))?;
        Ok(dir.display().to_string())
    }

    fn supervisord(&self, load: Load) -> Result<Vec<String>, Gap> {
        let file = self.dir.join("supervisord.conf");
        let text = format!(
            "[supervisord]\nnodaemon=true\nuser=root\nlogfile=/dev/null\nlogfile_maxbytes=0\n\
             pidfile=/run/supervisord.pid\nminfds=8192\n\n\
             [program:s]\ncommand={}\nprocess_name=%(process_num)d\nnumprocs={}\n\
             startsecs=0\nautorestart=true\nstdout_logfile=NONE\nstderr_logfile=NONE\n",
            self.app.join(" "),
            services(load)?,
        );
        fs::write(&file, text).map_err(Gap::io("supervisord.conf"))?;
        Ok(vec!["-c".into(), file.display().to_string()])
    }

    fn with_app(&self, mut words: Vec<String>) -> Vec<String> {
        words.extend_from_slice(&self.app);
        words
    }
}

/// For the supervisors that run services side by side and nothing else.
fn services(load: Load) -> Result<usize, Gap> {
    match load {
        Load::Command => Ok(1),
        Load::Services(n) => Ok(n),
        Load::Steps(_) | Load::ServiceChain(_) => Err(Gap::CannotDo(NO_ORDER)),
    }
}

fn unit_name(i: usize) -> String {
    format!("s{i:04}")
}
