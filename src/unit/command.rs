//! A command line of a unit: prefixes, words, and what variables make of them.
//!
//! Not a shell: no redirection, pipes, globs or `&` (systemd.service(5), COMMAND LINES).
//! **Invariant:** the program of an [`ExecCommand`] is an absolute path or a bare name, and no
//! variable ever changes it.

#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::environment::{Environment, is_variable_name};
use super::specifier::Specifiers;
use super::syntax::{Word, Words};
use super::value::{ValueError, is_whitespace, simplify_path};

/// One command of an `Exec*=` line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExecCommand {
    /// The program: an absolute path or a bare name. Never a variable.
    pub program: String,
    /// `argv[0]`, where the prefix `@` gives another than `program`, or where it was written
    /// with more slashes.
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

impl ExecCommand {
    /// A command whose words are taken as they are: no prefix, `;`, `$` or `%`.
    ///
    /// # Errors
    /// No words, a program that is neither an absolute path nor a bare name, or a NUL byte.
    pub fn from_argv(argv: Vec<String>) -> Result<ExecCommand, ValueError> {
        let mut words = argv.into_iter();
        let program = words.next().unwrap_or_default();
        if program.is_empty() {
            return Err(ValueError::new("the command is empty: its first word is the program"));
        }
        let arguments: Vec<String> = words.collect();
        if arguments.iter().chain([&program]).any(|word| word.contains('\0')) {
            return Err(ValueError::new("a word holds a NUL byte, which no program can be given"));
        }
        check_program(&program)?;
        let mut command = ExecCommand::new(program);
        command.arguments = arguments;
        command.no_expansion = true;
        Ok(command)
    }

    fn new(program: String) -> ExecCommand {
        ExecCommand {
            program,
            argv0: None,
            arguments: Vec::new(),
            ignore_failure: false,
            no_expansion: false,
            full_privileges: false,
            no_setuid: false,
        }
    }

    /// What execve(2) gets: `argv[0]`, then the arguments with their variables expanded.
    ///
    /// `${FOO}` is replaced where it stands. `$FOO` as a whole word becomes zero or more
    /// words, split at white space with quotes respected. `$$` is `$`; unset is empty.
    pub fn argv(&self, environment: &Environment) -> Vec<OsString> {
        let mut argv = Vec::with_capacity(self.arguments.len() + 1);
        for word in self.argv0.iter() {
            self.expand_into(&mut argv, word, environment);
        }
        if argv.is_empty() {
            argv.push(OsString::from(&self.program));
        }
        for argument in &self.arguments {
            self.expand_into(&mut argv, argument, environment);
        }
        argv
    }

    fn expand_into(&self, argv: &mut Vec<OsString>, word: &str, environment: &Environment) {
        if self.no_expansion {
            argv.push(OsString::from(word));
        } else if let Some(name) = whole_variable(word) {
            let value = environment.get(OsStr::new(name));
            argv.extend(value.map(|value| split_value(value)).unwrap_or_default());
        } else {
            argv.push(replace_variables(word, environment));
        }
    }
}

/// `FOO` of a word that is just `$FOO`; whatever follows the `$` counts as the name.
fn whole_variable(word: &str) -> Option<&str> {
    word.strip_prefix('$').filter(|name| !name.starts_with(['{', '$']))
}

/// Splits a variable's value as systemd does: quotes group and a backslash takes the next
/// character as it is; what is left open ends with the value.
fn split_value(value: &OsStr) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut bytes = value.as_bytes().iter().copied();
    while let Some(byte) = bytes.next() {
        if quote.is_none() && is_whitespace(char::from(byte)) {
            words.extend(word.take().map(OsString::from_vec));
            continue;
        }
        let current = word.get_or_insert_default();
        match (quote, byte) {
            (_, b'\\') => current.extend(bytes.next()),
            (Some(open), _) if open == byte => quote = None,
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(_) | None, _) => current.push(byte),
        }
    }
    words.extend(word.map(OsString::from_vec));
    words
}

/// Replaces `${FOO}` and `$$`. `${FOO:-x}` is no operator: it stays, but for what is inside.
fn replace_variables(word: &str, environment: &Environment) -> OsString {
    let mut result = OsString::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('$') {
        result.push(before);
        if let Some(tail) = after.strip_prefix('$') {
            result.push("$");
            rest = tail;
            continue;
        }
        let Some(inner) = after.strip_prefix('{') else {
            result.push("$");
            rest = after;
            continue;
        };
        let (name, tail) = inner.split_at(inner.find([':', '}']).unwrap_or(inner.len()));
        if let Some(tail) = tail.strip_prefix('}') {
            result.push(environment.get(OsStr::new(name)).map_or(OsStr::new(""), |v| v));
            rest = tail;
        } else {
            // Without its `}` all of the rest is literal, with a `:` all before that.
            result.push("${");
            result.push(name);
            result.push(tail.get(..1).unwrap_or_default());
            rest = tail.get(1..).unwrap_or_default();
        }
    }
    result.push(rest);
    result
}

/// Reads one `Exec*=` line: the commands, the errors, the warnings. The empty text gives no
/// command; that it resets is the caller's business.
///
/// What is wrong with a command of prefix `-` is a warning, and the line ends before it.
pub fn parse_commands(
    text: &str,
    specifiers: &Specifiers<'_>,
) -> (Vec<ExecCommand>, Vec<ValueError>, Vec<ValueError>) {
    let words = Words::new(text);
    let mut line = Line {
        text,
        words,
        specifiers,
        commands: Vec::new(),
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    while !line.words.rest().is_empty() {
        let mut ignore = false;
        match line.command(&mut ignore) {
            Ok(More::Yes) => {}
            Ok(More::No) => break,
            Err(error) if ignore => {
                line.warnings.push(dropped(error));
                break;
            }
            Err(error) => {
                line.errors.push(error);
                break;
            }
        }
    }
    let Line { words, commands, errors, mut warnings, .. } = line;
    warnings.extend(words.into_warnings());
    (commands, errors, warnings)
}

fn dropped(error: ValueError) -> ValueError {
    let message = format!("{}; the prefix - drops the command", error.message);
    ValueError { message, ..error }
}

/// Whether a `;` says that another command may follow.
enum More {
    Yes,
    No,
}

struct Line<'a> {
    text: &'a str,
    words: Words<'a>,
    specifiers: &'a Specifiers<'a>,
    commands: Vec<ExecCommand>,
    errors: Vec<ValueError>,
    warnings: Vec<ValueError>,
}

impl Line<'_> {
    /// Reads one command up to its `;`. Sets `ignore` once the prefix `-` is seen.
    fn command(&mut self, ignore: &mut bool) -> Result<More, ValueError> {
        let start = self.words.rest();
        *ignore = start.chars().take_while(|c| PREFIXES.contains(c)).any(|c| c == '-');
        let Some(first) = self.words.next().transpose()? else { return Ok(More::No) };
        if first.text == ";" {
            return Ok(More::Yes);
        }
        let (mut command, own_argv0, path) = strip_prefixes(&first.text);
        *ignore = command.ignore_failure;
        let program = self.expand(path, &first)?;
        if program.is_empty() {
            let error = ValueError::new("a program is missing after the prefix");
            return Err(error
                .at(first.range)
                .hint("no space stands between a prefix and its program"));
        }
        check_program(&program)
            .and_then(|()| check_text_program(&program))
            .map_err(|error| error.at(first.range.clone()))?;
        command.program = simplify_path(&program);
        if !own_argv0 && command.program != program {
            command.argv0 = Some(program);
        }
        let more = self.arguments(&mut command, own_argv0)?;
        if own_argv0 && command.argv0.is_none() {
            let error = ValueError::new("the prefix @ needs a second word, which is argv[0]");
            return Err(error.at(first.range));
        }
        self.commands.push(command);
        Ok(more)
    }

    fn arguments(
        &mut self,
        command: &mut ExecCommand,
        own_argv0: bool,
    ) -> Result<More, ValueError> {
        loop {
            let argument = if alone(self.words.rest(), ";") {
                self.words.pass_over(1);
                return Ok(More::Yes);
            } else if alone(self.words.rest(), "\\;") {
                self.words.pass_over(2);
                ";".to_string()
            } else {
                let Some(word) = self.words.next().transpose()? else { return Ok(More::No) };
                if !command.no_expansion {
                    self.warnings.extend(odd_variable(&word));
                }
                if word.text.contains('\0') {
                    return Err(ValueError::new("a word holds a NUL byte").at(word.range));
                }
                self.expand(&word.text, &word)?
            };
            if own_argv0 && command.argv0.is_none() {
                command.argv0 = Some(argument);
            } else {
                command.arguments.push(argument);
            }
        }
    }

    /// Replaces the specifiers in `part`, the end of `word`.
    fn expand(&self, part: &str, word: &Word) -> Result<String, ValueError> {
        self.specifiers.expand(part).map_err(|error| {
            let source = self.text.get(word.range.clone()).unwrap_or_default();
            let verbatim = source == word.text;
            let base = word.range.end.saturating_sub(part.len());
            let inner = error.range.clone().filter(|_| verbatim);
            let range = inner.map_or(word.range.clone(), |r| r.start + base..r.end + base);
            error.at(range)
        })
    }
}

const PREFIXES: [char; 5] = ['-', '@', ':', '+', '!'];

/// Takes the prefixes off the first word, each once, and of `+ ! !!` one: the flags, whether
/// `@` was there, and what is left.
fn strip_prefixes(word: &str) -> (ExecCommand, bool, &str) {
    let mut command = ExecCommand::new(String::new());
    let mut own_argv0 = false;
    let mut ambient = false; // `!!`, which changes nothing where ambient capabilities exist
    let mut rest = word;
    while let Some(prefix) = rest.chars().next() {
        let privileges = command.full_privileges || command.no_setuid || ambient;
        match prefix {
            '-' if !command.ignore_failure => command.ignore_failure = true,
            '@' if !own_argv0 => own_argv0 = true,
            ':' if !command.no_expansion => command.no_expansion = true,
            '+' if !privileges => command.full_privileges = true,
            '!' if !privileges => command.no_setuid = true,
            '!' if command.no_setuid => {
                command.no_setuid = false;
                ambient = true;
            }
            _ => break,
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    (command, own_argv0, rest)
}

/// Whether `word` stands at the start of `rest` with nothing or white space after it.
fn alone(rest: &str, word: &str) -> bool {
    rest.strip_prefix(word)
        .is_some_and(|after| after.is_empty() || after.starts_with(is_whitespace))
}

fn check_program(program: &str) -> Result<(), ValueError> {
    if program.ends_with('/') {
        return Err(ValueError::new(format!("the program {program:?} is a directory")));
    }
    let bare = !program.contains('/') && program.len() <= 255 && program != "." && program != "..";
    if program.starts_with('/') || bare {
        return Ok(());
    }
    let message = format!("the program {program:?} is neither an absolute path nor a bare name");
    Err(ValueError::new(message).hint("a name with a slash must begin with /"))
}

/// systemd refuses these in the program of a line, where they are the rest of a bad escape or
/// quote.
fn check_text_program(program: &str) -> Result<(), ValueError> {
    let special = |c: &char| c.is_ascii_control() || matches!(c, '"' | '\'' | '\\');
    match program.chars().find(special) {
        Some(c) => {
            Err(ValueError::new(format!("the program {program:?} holds the character {c:?}")))
        }
        None => Ok(()),
    }
}

/// A warning about a `$` that does not do what it seems to.
fn odd_variable(word: &Word) -> Option<ValueError> {
    let text = word.text.as_str();
    let warn = |message: String, hint: String| {
        Some(ValueError::new(message).at(word.range.clone()).hint(hint))
    };
    if let Some(name) = whole_variable(text).filter(|name| !is_variable_name(name)) {
        let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
        let (start, tail) = name.split_at(end);
        if !is_variable_name(start) {
            return warn(format!("{text:?} names no variable and vanishes"), DOLLAR.to_string());
        }
        let message = format!("{text:?} is read as a variable of that whole name and vanishes");
        return warn(message, format!("write ${{{start}}}{tail}"));
    }
    // `--port=$PORT`: almost surely meant; within a shell's script it would not stand alone.
    let (option, name) = text.rsplit_once("=$")?;
    if is_variable_name(name) && option.starts_with('-') && !option.contains(is_whitespace) {
        let message = format!("${name} inside a word is not replaced");
        return warn(message, format!("write {option}=${{{name}}}, or $${name} for the text"));
    }
    None
}

const DOLLAR: &str = "write $$ for a dollar sign";

#[cfg(test)]
mod tests {
    use super::super::name::UnitName;
    use super::super::specifier::HostFacts;
    use super::*;

    type Parsed = (Vec<ExecCommand>, Vec<ValueError>, Vec<ValueError>);

    fn parse(text: &str) -> Parsed {
        let unit = UnitName::parse("web@3.service").unwrap();
        let host = HostFacts::default();
        parse_commands(
            text,
            &Specifiers { unit: &unit, fragment: None, host: &host, instances: false },
        )
    }

    /// Each command as its flags, program, `argv[0]` where it differs, and arguments.
    fn shown(text: &str) -> String {
        let (commands, errors, warnings) = parse(text);
        assert_eq!((errors, warnings), (vec![], vec![]), "{text}");
        commands.iter().map(show).collect::<Vec<_>>().join(" ; ")
    }

    fn show(command: &ExecCommand) -> String {
        let flags = [
            (command.ignore_failure, '-'),
            (command.no_expansion, ':'),
            (command.full_privileges, '+'),
            (command.no_setuid, '!'),
        ];
        let mut text: String = flags.iter().filter(|(on, _)| *on).map(|(_, c)| *c).collect();
        text.push_str(&command.program);
        if let Some(argv0) = &command.argv0 {
            text.push_str(&format!(" @{argv0}"));
        }
        command.arguments.iter().for_each(|argument| text.push_str(&format!(" <{argument}>")));
        text
    }

    #[test]
    fn lines() {
        for (text, expected) in [
            ("", ""),
            ("  ", ""),
            ("/bin/echo one \"two two\"", "/bin/echo <one> <two two>"),
            ("/a///b x", "/a/b @/a///b <x>"),
            ("/./a/./b", "/a/b @/./a/./b"),
            ("uvicorn app:app --fd 3", "uvicorn <app:app> <--fd> <3>"),
            ("@/a///b ///argv0 r1", "/a/b @///argv0 <r1>"),
            ("-@/a/b argv0a r1", "-/a/b @argv0a <r1>"),
            ("@-/a/b argv0b", "-/a/b @argv0b"),
            ("-:+/a", "-:+/a"),
            ("+:@-/a b", "-:+/a @b"),
            ("!/a", "!/a"),
            ("!!/a", "/a"),
            ("\"-/a b\" c", "-/a b <c>"),
            ("\"/PATH WITH SPACES/daemon\" '-1 -2'", "/PATH WITH SPACES/daemon <-1 -2>"),
            (r#""/PATH\sWITH\x20SPACES/d" -1"#, "/PATH WITH SPACES/d <-1>"),
            ("/bin/echo %i %%i \"%n\"", "/bin/echo <3> <%i> <web@3.service>"),
            ("/opt/%p/%p", "/opt/web/web"),
            ("/bin/echo foo\"bar baz\"qux", "/bin/echo <foobar bazqux>"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn semicolons() {
        for (text, expected) in [
            ("/a b ; /c d", "/a <b> ; /c <d>"),
            ("/a ; -/c ; +/d", "/a ; -/c ; +/d"),
            ("/a b ;", "/a <b>"),
            ("/a b ; ", "/a <b>"),
            ("/a ; ; /b ; ;", "/a ; /b"),
            ("; /a", "/a"),
            ("/find \\; x", "/find <;> <x>"),
            ("/find \\;", "/find <;>"),
            (r#"/find ";" x"#, "/find <;> <x>"),
            (r"/find \073 x", "/find <;> <x>"),
            ("/find ';'", "/find <;>"),
            ("/a b; c", "/a <b;> <c>"),
            ("/a ;b", "/a <;b>"),
            ("@/a \\; b", "/a @; <b>"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        let (commands, errors, warnings) = parse(r"/find \;x");
        assert_eq!((show(&commands[0]), errors), (r"/find <\;x>".to_string(), vec![]));
        assert_eq!(warnings[0].range, Some(6..8));
    }

    #[test]
    fn refused() {
        for (text, range) in [
            ("/a/b/", 0..5),
            ("/", 0..1),
            (r"/a\ue", 0..5),
            (r"/a\", 0..3),
            (r#"/a\""#, 0..4),
            ("/a 'foo", 3..4),
            (r"/a 'foo\", 3..4),
            ("'/a", 0..1),
            ("@", 0..1),
            ("@/x", 0..3),
            ("@/x ; /y", 0..3),
            ("+ /x", 0..1),
            ("+!/x", 0..4),
            ("!!!/x", 0..5),
            ("::/x", 0..4),
            ("bin/x", 0..5),
            ("./x", 0..3),
            ("..", 0..2),
            ("/x a%Q", 4..6),
            ("/x 'a%Q'", 3..8),
            ("+/x%Q", 3..5),
            ("/x ; /y 'z", 8..9),
            (r"/x \xff", 3..7),
            ("/x a\0b", 3..6),
        ] {
            let (commands, errors, _) = parse(text);
            let [error] = errors.as_slice() else { panic!("{text}: {commands:?} {errors:?}") };
            assert_eq!(error.range, Some(range), "{text}: {error}");
        }
        assert_eq!(parse("/x ; /y 'z").0.len(), 1);
    }

    /// With the prefix `-` the same is a warning, and what came before stays.
    #[test]
    fn dropped_with_a_warning() {
        for text in [
            "--/x",
            "- /x",
            "-",
            "-/a/",
            "-/a 'b",
            "-'/a",
            "-@/a",
            r"-/a\ue",
            "-bin/x",
            "-/x %Q",
            "-@-/RValue a",
        ] {
            let (commands, errors, warnings) = parse(text);
            assert_eq!((commands, errors), (vec![], vec![]), "{text}");
            assert!(warnings[0].message.ends_with("the prefix - drops the command"), "{text}");
        }
        let (commands, errors, warnings) = parse("/a ; -/b/ ; /c");
        assert_eq!((commands.len(), errors.len(), warnings.len()), (1, 0, 1));
        // The prefix counts for its own command only.
        assert_eq!(parse("-/a ; /b/").1.len(), 1);
    }

    #[test]
    fn unknown_escapes_stay() {
        let (commands, errors, warnings) = parse(r"/bin/grep '\w+\K' \x00 a\");
        assert_eq!(show(&commands[0]), r"/bin/grep <\w+\K> <\x00> <a\>");
        assert_eq!((errors.len(), warnings.len()), (0, 4));
    }

    fn expanded(text: &str) -> Vec<String> {
        let environment: Environment = [
            ("ONE", "one"),
            ("TWO", "two two"),
            ("THREE", ""),
            ("QUOTED", "'a b' c\\ d \"\" e'f g'"),
            ("OPEN", "x 'y z"),
            ("TAIL", "x\\"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
        let (commands, errors, _) = parse(text);
        assert_eq!(errors, [], "{text}");
        let argv = commands[0].argv(&environment);
        argv.into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn variables() {
        for (text, expected) in [
            ("/e ${ONE} ${TWO} ${THREE}", &["/e", "one", "two two", ""][..]),
            ("/e $ONE $TWO $THREE", &["/e", "one", "two", "two"]),
            ("/e ${ONE}x${TWO} a${THREE}b", &["/e", "onextwo two", "ab"]),
            ("/e --p=$ONE a$ONE", &["/e", "--p=$ONE", "a$ONE"]),
            ("/e FOO$$ $$ONE $${ONE} $$", &["/e", "FOO$", "$ONE", "${ONE}", "$"]),
            ("/e $NONE ${NONE} x${NONE}", &["/e", "", "x"]),
            ("/e ${ONE:-x} ${ONE:+${TWO}}", &["/e", "${ONE:-x}", "${ONE:+two two}"]),
            ("/e ${ONE $ x$ ${}", &["/e", "${ONE", "x$", ""]),
            ("/e 'a${ONE $$' '${A$$B:$$}'", &["/e", "a${ONE $$", "${A$$B:$}"]),
            ("/e ${ONE${TWO}}", &["/e", "}"]),
            ("/e $QUOTED", &["/e", "a b", "c d", "", "ef g"]),
            ("/e $OPEN $TAIL", &["/e", "x", "y z", "x"]),
            ("/e '$TWO' \"${TWO}\"", &["/e", "two", "two", "two two"]),
            (":/e $ONE ${ONE} $$", &["/e", "$ONE", "${ONE}", "$$"]),
            ("@/e ${ONE} ${ONE}", &["one", "one"]),
            ("@/e $NONE x", &["/e", "x"]),
            ("$ONE x", &["$ONE", "x"]),
            ("/bin/${ONE}", &["/bin/${ONE}"]),
        ] {
            assert_eq!(expanded(text), expected, "{text}");
        }
    }

    #[test]
    fn variables_that_do_not_do_what_they_seem_to() {
        for (text, hint) in [
            ("/e --port=$PORT", Some("write --port=${PORT}, or $$PORT for the text")),
            ("/e $HOME/x", Some("write ${HOME}/x")),
            ("/e $", Some("write $$ for a dollar sign")),
            ("/bin/sh -c 'exec web --port=$PORT'", None),
            ("/bin/sh -c 'echo $HOME'", None),
            (":/e --port=$PORT", None),
            ("/e $$ $FOO ${FOO}/x", None),
        ] {
            let (_, errors, warnings) = parse(text);
            let found = warnings.first().and_then(|warning| warning.hint.as_deref());
            assert_eq!((errors, found), (vec![], hint), "{text}");
        }
    }

    #[test]
    fn arrays_are_taken_as_they_are() {
        let words = ["/bin/e", "-x", "$ONE", "${ONE}", "%i", ";", ""].map(str::to_string);
        let command = ExecCommand::from_argv(words.to_vec()).unwrap();
        let argv = command.argv(&[("ONE".into(), "1".into())].into());
        assert_eq!(argv, words.map(OsString::from));
        for (argv, message) in [
            (&[][..], "the command is empty: its first word is the program"),
            (&[""], "the command is empty: its first word is the program"),
            (&["/a", "b\0"], "a word holds a NUL byte, which no program can be given"),
            (&["a/b"], "the program \"a/b\" is neither an absolute path nor a bare name"),
            (&["/a/"], "the program \"/a/\" is a directory"),
        ] {
            let argv = argv.iter().map(|word| word.to_string()).collect();
            assert_eq!(ExecCommand::from_argv(argv).unwrap_err().message, message);
        }
        assert_eq!(ExecCommand::from_argv(vec!["/my prog".into()]).unwrap().program, "/my prog");
    }
}
