//! A command line of a unit: prefixes, words, and what variables make of them.
//!
//! Not a shell: no redirection, pipes, globs or `&` (systemd.service(5), COMMAND LINES).

/// One command of an `Exec*=` line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExecCommand {
    /// The program: an absolute path or a bare name. Never a variable.
    pub program: String,
    /// `argv[0]`, where the prefix `@` gives another than `program`.
    pub argv0: Option<String>,
    /// The arguments after `argv[0]`, variables not yet expanded.
    pub arguments: Vec<String>,
    /// Prefix `-`: a failure is recorded and counts as success.
    pub ignore_failure: bool,
    /// Prefix `:`, or an argv array: no `$VAR` is expanded.
    pub no_expansion: bool,
    /// Prefix `+`: User=, Group= and the rest of the sandbox do not apply.
    pub full_privileges: bool,
    /// Prefix `!`: User=, Group=, SupplementaryGroups= do not apply.
    pub no_setuid: bool,
}
