//! Addresses as text: what `Listen*=` takes (systemd.socket(5)), what a probe asks, where rinit
//! serves HTTP.
//!
//! Nothing is looked up: PID 1 waits for no resolver, so an address is a number, or
//! `localhost`. **Invariant:** every function is total, and what [`parse_listen`] takes systemd
//! takes too; a number is written in decimal, without a leading zero that could mean octal.

#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use super::health::HealthCheck;
use super::socket::{ListenAddress, ListenKind};
use super::value::ValueError;

/// Bytes of a path or abstract name (unix(7): `sun_path` has 108, one of them is the NUL).
const UNIX_MAX: usize = 107;

/// The port of a URL that names none.
const HTTP_PORT: u16 = 80;

/// Reads the value of one `Listen*=`.
///
/// # Errors
/// No address, or one that this kind of socket cannot have.
pub fn parse_listen(kind: ListenKind, text: &str) -> Result<ListenAddress, ValueError> {
    if text.starts_with('/') {
        return unix(text, text).map(ListenAddress::Path);
    }
    if kind == ListenKind::Fifo {
        let error = ValueError::new(format!("{text:?} is not an absolute path"));
        return Err(error.hint("a FIFO is a file, as in /run/app.fifo"));
    }
    if let Some(name) = text.strip_prefix('@') {
        return unix(text, name).map(ListenAddress::Abstract);
    }
    let address = inet(text)?;
    if kind == ListenKind::SequentialPacket {
        let error = ValueError::new(format!("{text:?} is no address of a sequential packet"));
        return Err(error.hint("a path such as /run/app.sock, or @name"));
    }
    Ok(address)
}

/// A name in the file system or the abstract one; `text` is what was written.
fn unix(text: &str, name: &str) -> Result<String, ValueError> {
    let wrong = |why: &str| Err(ValueError::new(format!("{text:?} is no socket's name: {why}")));
    if text.len() < 2 {
        return wrong("it is empty");
    }
    if text.len() > UNIX_MAX {
        return wrong("it is longer than 107 bytes, and the kernel takes no more");
    }
    if name.contains('\0') {
        return wrong("it holds a NUL byte");
    }
    if text.starts_with('/') && text.ends_with('/') {
        return wrong("it ends with a slash");
    }
    Ok(name.to_string())
}

/// `8000`, `127.0.0.1:8000`, `[::1]:8000`.
fn inet(text: &str) -> Result<ListenAddress, ValueError> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return port(text, 0..text.len()).map(ListenAddress::Port);
    }
    if text.starts_with("vsock:") {
        let error = ValueError::new("vsock is not supported by this version of rinit");
        return Err(error);
    }
    let (host, number, place) = split(text)?;
    let ip = match host {
        Host::Number(ip) => ip,
        Host::Name(name) => return Err(not_an_address(text, name, number)),
    };
    let port = port(number, place)?;
    Ok(ListenAddress::Ip(SocketAddr::new(ip, port)))
}

fn not_an_address(text: &str, name: &str, number: &str) -> ValueError {
    let error = ValueError::new(format!("{text:?} is no address: {name:?} is a name"));
    let number = if is_port(number) { number } else { "8000" };
    match name {
        "" | "*" => {
            let error = ValueError::new(format!("{text:?} is no address"));
            error.hint(format!("{number} for all addresses, or 127.0.0.1:{number}"))
        }
        "localhost" => error
            .at(0..name.len())
            .hint(format!("an address, not a name: 127.0.0.1:{number}, or [::1]:{number}")),
        _ => error
            .at(0..name.len())
            .hint(format!("an address, not a name: 127.0.0.1:{number}, or {number} for all")),
    }
}

fn is_port(text: &str) -> bool {
    port(text, 0..0).is_ok()
}

enum Host<'a> {
    Number(IpAddr),
    Name(&'a str),
}

/// Host, text of the port, and where that stands.
fn split(text: &str) -> Result<(Host<'_>, &str, Range<usize>), ValueError> {
    const FORMS: &str = "8000, 127.0.0.1:8000, [::1]:8000, /run/app.sock or @name";
    let wrong = |message: String| Err(ValueError::new(message).hint(FORMS));
    if let Some((scheme, _)) = text.split_once("://") {
        return wrong(format!("{text:?} is no address: it has no {scheme}://"));
    }
    if text.starts_with('.') || (text.contains('/') && !text.contains(':')) {
        return wrong(format!("{text:?} is neither an address nor an absolute path"));
    }
    if let Some(inside) = text.strip_prefix('[') {
        let Some((inside, rest)) = inside.split_once(']') else {
            return wrong(format!("{text:?} is no address: a ] is missing"));
        };
        let Ok(ip) = inside.parse::<Ipv6Addr>() else {
            return wrong(format!("{text:?} is no address: {inside:?} is no IPv6 address"));
        };
        let Some(number) = rest.strip_prefix(':') else {
            return wrong(format!("{text:?} names no port"));
        };
        if number.contains('%') {
            return wrong(format!("{text:?} names an interface, which is not supported here"));
        }
        let place = text.len() - number.len()..text.len();
        return Ok((Host::Number(IpAddr::V6(ip)), number, place));
    }
    let bare = |ip: &str, port: &str| {
        let error = ValueError::new(format!("{text:?} names no port"));
        error.hint(format!("an IPv6 address stands in brackets: [{ip}]:{port}"))
    };
    let Some((host, number)) = text.rsplit_once(':') else {
        if text.parse::<Ipv4Addr>().is_ok() {
            let error = ValueError::new(format!("{text:?} names no port"));
            return Err(error.hint(format!("as in {text}:8000")));
        }
        return wrong(format!("{text:?} is neither an address nor an absolute path"));
    };
    if host.parse::<Ipv6Addr>().is_ok() {
        return Err(bare(host, number));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(bare(text, "8000"));
    }
    let place = host.len() + 1..text.len();
    match host.parse::<Ipv4Addr>() {
        Ok(ip) => Ok((Host::Number(IpAddr::V4(ip)), number, place)),
        Err(_) if host.contains(':') => wrong(format!("{text:?} is no address")),
        Err(_) => Ok((Host::Name(host), number, place)),
    }
}

/// A port that one can listen on: 1 to 65535.
fn port(text: &str, place: Range<usize>) -> Result<u16, ValueError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits && text.len() > 1 && text.starts_with('0') {
        let error = ValueError::new(format!("{text:?} is no port: it begins with a zero"));
        return Err(error.at(place));
    }
    let number = if digits { text.parse::<u16>().ok() } else { None };
    number.filter(|port| *port != 0).ok_or_else(|| {
        let error = ValueError::new(format!("{text:?} is no port"));
        error.at(place).hint("a port is a number from 1 to 65535")
    })
}

/// Reads `Tcp=` of `[Health]`: `127.0.0.1:5432`, `[::1]:5432`, `localhost:5432`, `5432`.
///
/// # Errors
/// No address, or another name than `localhost`.
pub fn parse_tcp(text: &str) -> Result<HealthCheck, ValueError> {
    let (host, port) = host_port(text, None)?;
    Ok(HealthCheck::Tcp { host, port })
}

/// Reads where rinit serves HTTP itself: `9000` and `localhost:9000` are loopback only, `none`
/// is nowhere.
///
/// # Errors
/// No address, or another name than `localhost`.
pub fn parse_http_listen(text: &str) -> Result<Option<SocketAddr>, ValueError> {
    if text == "none" {
        return Ok(None);
    }
    if let Some(number) = text.strip_prefix(':').or_else(|| text.strip_prefix("*:")) {
        let number = if is_port(number) { number } else { "9000" };
        let error = ValueError::new(format!("{text:?} is no address"));
        return Err(
            error.hint(format!("{number} for loopback, 0.0.0.0:{number} for all addresses"))
        );
    }
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let found = match digits {
        true => port(text, 0..text.len()).map(|port| (String::new(), port)),
        false => host_port(text, None),
    };
    let (host, port) = found.map_err(|error| match error.hint {
        Some(_) => error,
        None => error.hint("9000 for loopback, 0.0.0.0:9000 for all addresses, or none"),
    })?;
    let ip = host.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    Ok(Some(SocketAddr::new(ip, port)))
}

/// Reads `Http=` of `[Health]`: a path of the service's own socket, or a whole URL.
///
/// # Errors
/// Neither, or a URL that rinit cannot ask: `https`, user names, names of hosts.
pub fn parse_http(text: &str) -> Result<HealthCheck, ValueError> {
    const FORMS: &str = "\"/healthz\", or \"http://127.0.0.1:8000/healthz\"";
    if let Some(c) = text.chars().find(|c| c.is_control() || *c == ' ' || !c.is_ascii()) {
        let error = ValueError::new(format!("{text:?} holds {c:?}, which no request can"));
        return Err(error.hint("write it as %%20 and the like"));
    }
    if let Some((_, fragment)) = text.split_once('#') {
        let error = ValueError::new(format!("{text:?} has a fragment, which no server sees"));
        let start = text.len() - fragment.len() - 1;
        return Err(error.at(start..text.len()).hint(FORMS));
    }
    if text.starts_with('/') {
        return Ok(HealthCheck::HttpPath(text.to_string()));
    }
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("https:") {
        let error = ValueError::new("rinit speaks no TLS, so https cannot be asked");
        return Err(error.at(0..5).hint("ask a plain port, or use Exec= with a program that can"));
    }
    if !lower.starts_with("http://") {
        let error = ValueError::new(format!("{text:?} is neither a path nor a URL"));
        return Err(error.hint(FORMS));
    }
    let rest = text.get(7..).unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    if authority.contains('@') {
        let error = ValueError::new(format!("{text:?} holds a user's name"));
        return Err(error.hint("use Exec= with a program that logs in"));
    }
    let shifted = |error: ValueError| ValueError {
        range: error.range.map(|range| range.start + 7..range.end + 7),
        ..error
    };
    let (host, port) = host_port(authority, Some(HTTP_PORT)).map_err(shifted)?;
    let path = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
    Ok(HealthCheck::HttpUrl { host, port, path })
}

/// An address without brackets, or `localhost`; and a port.
fn host_port(text: &str, default: Option<u16>) -> Result<(String, u16), ValueError> {
    if default.is_none() && is_port(text) {
        return Ok(("localhost".to_string(), port(text, 0..text.len())?));
    }
    if let Some(port) = default {
        let bare = text.strip_prefix('[').and_then(|inside| inside.strip_suffix(']'));
        let v6 = bare.filter(|inside| inside.parse::<Ipv6Addr>().is_ok());
        if let Some(ip) = v6 {
            return Ok((ip.to_string(), port));
        }
        if text == "localhost" || text.parse::<Ipv4Addr>().is_ok() {
            return Ok((text.to_string(), port));
        }
        if !text.contains([':', '[']) {
            return Err(looked_up(text));
        }
    }
    let (host, number, place) = split(text).map_err(|error| ValueError { hint: None, ..error })?;
    let host = match host {
        Host::Number(ip) => ip.to_string(),
        Host::Name("localhost") => "localhost".to_string(),
        Host::Name(name) => return Err(looked_up(name)),
    };
    Ok((host, port(number, place)?))
}

fn looked_up(name: &str) -> ValueError {
    let error = ValueError::new(format!("{name:?} is neither an address nor localhost"));
    error.at(0..name.len()).hint("rinit looks no name up: an init must not wait for a resolver")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str) -> Result<ListenAddress, ValueError> {
        parse_listen(ListenKind::Stream, text)
    }

    #[test]
    fn addresses() {
        let ip = |text: &str| ListenAddress::Ip(text.parse().unwrap());
        for (text, address) in [
            ("8000", ListenAddress::Port(8000)),
            ("1", ListenAddress::Port(1)),
            ("65535", ListenAddress::Port(65535)),
            ("127.0.0.1:80", ip("127.0.0.1:80")),
            ("0.0.0.0:8000", ip("0.0.0.0:8000")),
            ("[::1]:80", ip("[::1]:80")),
            ("[::]:80", ip("[::]:80")),
            ("[::ffff:1.2.3.4]:80", ip("[::ffff:1.2.3.4]:80")),
            ("/run/app.sock", ListenAddress::Path("/run/app.sock".into())),
            ("@app", ListenAddress::Abstract("app".into())),
        ] {
            assert_eq!(listen(text), Ok(address), "{text}");
        }
        let longest = format!("/{}", "x".repeat(UNIX_MAX - 1));
        assert!(listen(&longest).is_ok());
        assert!(listen(&format!("{longest}x")).is_err());
    }

    #[test]
    fn what_is_no_address() {
        for (text, message, hint) in [
            ("localhost:80", "is a name", "an address, not a name: 127.0.0.1:80, or [::1]:80"),
            ("db:5432", "is a name", "an address, not a name: 127.0.0.1:5432, or 5432 for all"),
            ("*:80", "is no address", "80 for all addresses, or 127.0.0.1:80"),
            (":80", "is no address", "80 for all addresses, or 127.0.0.1:80"),
            ("0", "is no port", "from 1 to 65535"),
            ("65536", "is no port", "from 1 to 65535"),
            ("99999999999999999999", "is no port", "from 1 to 65535"),
            ("127.0.0.1:0", "is no port", "from 1 to 65535"),
            ("127.0.0.1:http", "is no port", "from 1 to 65535"),
            ("127.0.0.1:", "is no port", "from 1 to 65535"),
            ("127.0.0.1:+80", "is no port", "from 1 to 65535"),
            ("127.0.0.1", "names no port", "as in 127.0.0.1:8000"),
            ("::1", "names no port", "in brackets: [::1]:8000"),
            ("::1:8000", "names no port", "in brackets: [::1]:8000"),
            ("[::1]", "names no port", "8000"),
            ("[::1:80", "a ] is missing", "8000"),
            ("[127.0.0.1]:80", "is no IPv6 address", "8000"),
            ("[fe80::1]:80%eth0", "interface", "8000"),
            ("run/app.sock", "neither", "/run/app.sock"),
            ("./app.sock", "neither", "/run/app.sock"),
            ("tcp://127.0.0.1:80", "it has no tcp://", "127.0.0.1:8000"),
            ("", "neither", "8000"),
            ("web", "neither", "8000"),
        ] {
            let error = listen(text).unwrap_err();
            assert!(error.message.contains(message), "{text}: {error}");
            let shown = error.hint.unwrap_or_default();
            assert!(shown.contains(hint), "{text}: {shown}");
        }
        for text in ["/", "@", "/run/", "/a\0", "@a\0b", "010", "080", "0x50", " 80", "80 81"] {
            assert!(listen(text).is_err(), "{text}");
        }
    }

    #[test]
    fn kinds_differ() {
        assert!(parse_listen(ListenKind::Datagram, "53").is_ok());
        assert!(parse_listen(ListenKind::SequentialPacket, "@x").is_ok());
        assert!(parse_listen(ListenKind::SequentialPacket, "80").is_err());
        assert!(parse_listen(ListenKind::Fifo, "/run/x").is_ok());
        assert!(parse_listen(ListenKind::Fifo, "@x").is_err());
        assert!(parse_listen(ListenKind::Fifo, "80").is_err());
    }

    #[test]
    fn what_a_probe_asks() {
        let url = |host: &str, port, path: &str| HealthCheck::HttpUrl {
            host: host.into(),
            port,
            path: path.into(),
        };
        for (text, check) in [
            ("/healthz", HealthCheck::HttpPath("/healthz".into())),
            ("/a?b=%20", HealthCheck::HttpPath("/a?b=%20".into())),
            ("http://127.0.0.1:8001/healthz", url("127.0.0.1", 8001, "/healthz")),
            ("HTTP://localhost/", url("localhost", 80, "/")),
            ("http://localhost", url("localhost", 80, "/")),
            ("http://[::1]:81?x", url("::1", 81, "/?x")),
            ("http://[::1]", url("::1", 80, "/")),
        ] {
            assert_eq!(parse_http(text), Ok(check), "{text}");
        }
        for (text, message) in [
            ("https://localhost/", "no TLS"),
            (":8001/healthz", "neither a path nor a URL"),
            ("healthz", "neither a path nor a URL"),
            ("http://app/", "neither an address nor localhost"),
            ("http://u:p@127.0.0.1/", "a user's name"),
            ("http://127.0.0.1:0/", "is no port"),
            ("/a b", "holds ' '"),
            ("/a\r\nX: y", "holds '\\r'"),
            ("/a#b", "a fragment"),
        ] {
            let error = parse_http(text).unwrap_err();
            assert!(error.message.contains(message), "{text}: {error}");
        }
        let tcp = |host: &str, port| HealthCheck::Tcp { host: host.into(), port };
        assert_eq!(parse_tcp("localhost:5432"), Ok(tcp("localhost", 5432)));
        assert_eq!(parse_tcp("[::1]:5432"), Ok(tcp("::1", 5432)));
        assert_eq!(parse_tcp("5432"), Ok(tcp("localhost", 5432)));
        for text in ["db:5432", "localhost", "127.0.0.1", "", "localhost:", "/run/x"] {
            assert!(parse_tcp(text).is_err(), "{text}");
        }
    }

    #[test]
    fn where_http_is_served() {
        let at = |text: &str| Ok(Some(text.parse::<SocketAddr>().unwrap()));
        for (text, address) in [
            ("9000", at("127.0.0.1:9000")),
            ("localhost:9000", at("127.0.0.1:9000")),
            ("0.0.0.0:9000", at("0.0.0.0:9000")),
            ("10.0.0.1:80", at("10.0.0.1:80")),
            ("[::]:9000", at("[::]:9000")),
            ("none", Ok(None)),
        ] {
            assert_eq!(parse_http_listen(text), address, "{text}");
        }
        for (text, message, hint) in [
            (":9000", "is no address", "0.0.0.0:9000 for all"),
            ("*:9000", "is no address", "0.0.0.0:9000 for all"),
            ("web:9000", "neither an address nor localhost", "must not wait"),
            ("0", "is no port", "1 to 65535"),
            ("65536", "is no port", "1 to 65535"),
            ("127.0.0.1", "names no port", "9000 for loopback"),
            ("/run/x", "neither", "9000 for loopback"),
            ("http://127.0.0.1:9000", "it has no http://", ""),
            ("", "neither", ""),
        ] {
            let error = parse_http_listen(text).unwrap_err();
            assert!(error.message.contains(message), "{text}: {error}");
            assert!(error.hint.clone().unwrap_or_default().contains(hint), "{text}: {error:?}");
        }
    }
}
