//! The rows of `[Socket]` (systemd.socket(5)).
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use super::Section::Socket;
use super::exec::identity;
use super::unit::U32;
use super::{Context, Directive, Draft, Kind, accepted, not_yet, row};
use crate::unit::UnitKind;
use crate::unit::address::parse_listen;
use crate::unit::raw::Item;
use crate::unit::socket::{BindIpv6Only, Listen, ListenKind};
use crate::unit::value::{self, ValueError};

const BIND: Kind = Kind::Choice(&["default", "both", "ipv6-only"]);
const BINDS: [(&str, BindIpv6Only); 3] = [
    ("default", BindIpv6Only::Default),
    ("both", BindIpv6Only::Both),
    ("ipv6-only", BindIpv6Only::Ipv6Only),
];

const NO_COMMANDS: &str = "rinit runs no command for a socket";

#[rustfmt::skip]
pub(super) const ROWS: &[Directive] = &[
    row(Socket, "ListenStream", Kind::Addresses, "", "Where rinit listens for it: a port, ADDRESS:PORT, a path or @name",
        |draft, item, cx| listen(ListenKind::Stream, draft, item, cx)),
    row(Socket, "ListenDatagram", Kind::Addresses, "", "Where rinit takes datagrams for it",
        |draft, item, cx| listen(ListenKind::Datagram, draft, item, cx)),
    row(Socket, "ListenSequentialPacket", Kind::Addresses, "", "Where rinit takes sequential packets for it: a path or @name",
        |draft, item, cx| listen(ListenKind::SequentialPacket, draft, item, cx)),
    row(Socket, "ListenFIFO", Kind::Addresses, "", "A FIFO that rinit opens for it: a path",
        |draft, item, cx| listen(ListenKind::Fifo, draft, item, cx)),
    row(Socket, "SocketUser", Kind::Identity, "rinit's own", "Who owns the path",
        |draft, item, cx| identity(&mut draft.socket().user, item, cx)),
    row(Socket, "SocketGroup", Kind::Identity, "the user's", "The group of the path",
        |draft, item, cx| identity(&mut draft.socket().group, item, cx)),
    row(Socket, "SocketMode", Kind::Mode, "0666", "The permissions of the path",
        |draft, item, cx| if let Some(mode) = cx.mode(item) {
            draft.socket().mode = mode;
        }),
    row(Socket, "DirectoryMode", Kind::Mode, "0755", "The permissions of directories that are made for the path",
        |draft, item, cx| if let Some(mode) = cx.mode(item) {
            draft.socket().directory_mode = mode;
        }),
    row(Socket, "Backlog", Kind::Integer(0, U32), "4294967295", "How many connections may wait; net.core.somaxconn bounds it",
        |draft, item, cx| if let Some(backlog) = cx.integer(item) {
            draft.socket().backlog = backlog;
        }),
    row(Socket, "BindIPv6Only", BIND, "default", "Whether an IPv6 socket takes IPv4 too: both, or ipv6-only; default is the kernel's",
        |draft, item, cx| if let Some(bind) = cx.choice(item, &BINDS) {
            draft.socket().bind_ipv6_only = bind;
        }),
    row(Socket, "ReusePort", Kind::Boolean, "no", "A socket for each instance, among which rinit steers connections",
        |draft, item, cx| if let Some(yes) = cx.boolean(item) {
            draft.socket().reuse_port = yes;
        }),
    row(Socket, "DeferAcceptSec", Kind::TimeSpan, "0", "How long the kernel keeps a connection that has not spoken yet",
        |draft, item, cx| if let Some(span) = cx.duration(item) {
            draft.socket().defer_accept = span;
        }),
    row(Socket, "NoDelay", Kind::Boolean, "yes", "TCP_NODELAY on every connection; rinit's default, systemd's is no",
        |draft, item, cx| if let Some(yes) = cx.boolean(item) {
            draft.socket().no_delay = yes;
        }),
    row(Socket, "KeepAlive", Kind::Boolean, "no", "SO_KEEPALIVE on every connection",
        |draft, item, cx| if let Some(yes) = cx.boolean(item) {
            draft.socket().keep_alive = yes;
        }),
    row(Socket, "FreeBind", Kind::Boolean, "no", "The address may be one that this host does not have yet",
        |draft, item, cx| if let Some(yes) = cx.boolean(item) {
            draft.socket().free_bind = yes;
        }),
    row(Socket, "FileDescriptorName", Kind::Text, "the unit's name", "Its name in LISTEN_FDNAMES",
        descriptor_name),
    row(Socket, "RemoveOnStop", Kind::Boolean, "no", "The path goes when the socket is closed",
        |draft, item, cx| if let Some(yes) = cx.boolean(item) {
            draft.socket().remove_on_stop = yes;
        }),
    row(Socket, "Accept", Kind::Boolean, "no", "Whether rinit takes the connections, and starts an instance of NAME@.service for each",
        |draft, item, cx| if let Some(yes) = cx.boolean(item) {
            draft.socket().accept = yes;
        }),
    row(Socket, "MaxConnections", Kind::Integer(0, U32), "64", "How many connections at once, with Accept=yes",
        |draft, item, cx| if let Some(most) = cx.integer(item) {
            draft.socket().max_connections = most;
        }),
    row(Socket, "MaxConnectionsPerSource", Kind::Integer(0, U32), "0", "How many connections at once from one address or user, with Accept=yes; 0 is no limit",
        |draft, item, cx| if let Some(most) = cx.integer(item) {
            draft.socket().max_connections_per_source = most;
        }),
    row(Socket, "Service", Kind::Units, "the service of the same name", "Which service a socket in a file of its own is for",
        service),
    row(Socket, "ReceiveBuffer", Kind::Size, "the kernel's", "SO_RCVBUF",
        |draft, item, cx| if let Some(size) = cx.parsed(item, value::parse_size) {
            draft.socket().receive_buffer = size;
        }),
    row(Socket, "SendBuffer", Kind::Size, "the kernel's", "SO_SNDBUF",
        |draft, item, cx| if let Some(size) = cx.parsed(item, value::parse_size) {
            draft.socket().send_buffer = size;
        }),
    row(Socket, "PassCredentials", Kind::Boolean, "no", "SO_PASSCRED: the service may see who sends",
        |draft, item, cx| if let Some(yes) = cx.boolean(item) {
            draft.socket().pass_credentials = yes;
        }),
    row(Socket, "TriggerLimitIntervalSec", Kind::TimeSpan, "2s", "The window of TriggerLimitBurst=; 0 is no limit",
        |draft, item, cx| if let Some(span) = cx.duration(item) {
            draft.socket().trigger_limit_interval = span;
        }),
    row(Socket, "TriggerLimitBurst", Kind::Integer(0, U32), "20, with Accept=yes 0", "So often a connection may start the service in that time; then the socket fails; 0 is no limit",
        |draft, item, cx| if let Some(burst) = cx.integer(item) {
            draft.socket().trigger_limit_burst = burst;
        }),
    row(Socket, "PollLimitIntervalSec", Kind::TimeSpan, "2s", "The window of PollLimitBurst=; 0 is no limit",
        |draft, item, cx| if let Some(span) = cx.duration(item) {
            draft.socket().poll_limit_interval = span;
        }),
    row(Socket, "PollLimitBurst", Kind::Integer(0, U32), "150", "So many connections are taken in that time, with Accept=yes; more wait",
        |draft, item, cx| if let Some(burst) = cx.integer(item) {
            draft.socket().poll_limit_burst = burst;
        }),

    accepted(Socket, "TimeoutSec", Kind::Timeout, "How long the commands of a socket may take", NO_COMMANDS),
    not_yet(Socket, "ListenSpecial", Kind::Paths, "", "A device or file that is opened for it"),
    not_yet(Socket, "ListenNetlink", Kind::Text, "", "A netlink family whose messages it gets"),
    not_yet(Socket, "ListenMessageQueue", Kind::Paths, "", "A POSIX message queue that is opened for it"),
    not_yet(Socket, "ListenUSBFunction", Kind::Paths, "", "USB endpoints that are opened for it"),
    not_yet(Socket, "SocketProtocol", Kind::Text, "", "Another protocol: udplite, sctp, mptcp"),
    not_yet(Socket, "BindToDevice", Kind::Text, "", "The interface from which it takes traffic"),
    not_yet(Socket, "Writable", Kind::Boolean, "no", "Whether ListenSpecial= is opened for writing"),
    not_yet(Socket, "FlushPending", Kind::Boolean, "no", "Drops what waits once the service has ended"),
    not_yet(Socket, "KeepAliveTimeSec", Kind::TimeSpan, "the kernel's", "TCP_KEEPIDLE"),
    not_yet(Socket, "KeepAliveIntervalSec", Kind::TimeSpan, "the kernel's", "TCP_KEEPINTVL"),
    not_yet(Socket, "KeepAliveProbes", Kind::Integer(0, U32), "the kernel's", "TCP_KEEPCNT"),
    not_yet(Socket, "Priority", Kind::Integer(0, 6), "", "SO_PRIORITY"),
    not_yet(Socket, "IPTOS", Kind::Text, "", "IP_TOS"),
    not_yet(Socket, "IPTTL", Kind::Integer(1, 255), "", "IP_TTL"),
    not_yet(Socket, "Mark", Kind::Integer(0, U32), "", "SO_MARK, for firewalls"),
    not_yet(Socket, "PipeSize", Kind::Size, "", "The buffer of a FIFO"),
    not_yet(Socket, "MessageQueueMaxMessages", Kind::Integer(1, U32), "", "mq_maxmsg of ListenMessageQueue="),
    not_yet(Socket, "MessageQueueMessageSize", Kind::Integer(1, U32), "", "mq_msgsize of ListenMessageQueue="),
    not_yet(Socket, "Transparent", Kind::Boolean, "no", "IP_TRANSPARENT"),
    not_yet(Socket, "Broadcast", Kind::Boolean, "no", "SO_BROADCAST"),
    not_yet(Socket, "PassSecurity", Kind::Boolean, "no", "SO_PASSSEC"),
    not_yet(Socket, "PassPacketInfo", Kind::Boolean, "no", "IP_PKTINFO"),
    not_yet(Socket, "Timestamping", Kind::Text, "off", "SO_TIMESTAMP"),
    not_yet(Socket, "TCPCongestion", Kind::Text, "the kernel's", "TCP_CONGESTION"),
    not_yet(Socket, "SmackLabel", Kind::Text, "", "The SMACK label of the path"),
    not_yet(Socket, "SmackLabelIPIn", Kind::Text, "", "The SMACK label of what comes in"),
    not_yet(Socket, "SmackLabelIPOut", Kind::Text, "", "The SMACK label of what goes out"),
    not_yet(Socket, "SELinuxContextFromNet", Kind::Boolean, "no", "The service gets its SELinux label from the peer"),
    not_yet(Socket, "Symlinks", Kind::Paths, "", "Links that are made to the path"),
    not_yet(Socket, "ExecStartPre", Kind::Commands, "", "Runs before the socket is opened"),
    not_yet(Socket, "ExecStartPost", Kind::Commands, "", "Runs when the socket is open"),
    not_yet(Socket, "ExecStopPre", Kind::Commands, "", "Runs before the socket is closed"),
    not_yet(Socket, "ExecStopPost", Kind::Commands, "", "Runs when the socket is closed"),
];

fn listen(kind: ListenKind, draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    for part in cx.parts(item) {
        let Some(part) = part else {
            // Of any kind: socket_free_ports() of systemd.
            draft.socket().listen.clear();
            draft.listens.clear();
            continue;
        };
        let Some(text) = cx.expanded(part.item, part.text) else {
            continue;
        };
        // Where a specifier was replaced, the places are not those of what was written.
        let same = text == part.text;
        match parse_listen(kind, text.trim()) {
            Ok(address) => {
                draft.socket().listen.push(Listen { kind, address });
                draft.listens.push(cx.span(part.item.range.clone()));
            }
            Err(error) => {
                let range = error.range.filter(|_| same && text.trim() == text);
                cx.refuse(part.item, ValueError { range, ..error });
            }
        }
    }
}

/// A name of sd_listen_fds_with_names(3): up to 255 ASCII characters without a colon
/// (fdname_is_valid() of systemd).
fn descriptor_name(draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    let Some(text) = cx.text(item).and_then(|text| cx.expanded(item, text)) else {
        return;
    };
    if text.is_empty() {
        draft.socket().descriptor_name = None;
    } else if text.len() > 255 || !text.bytes().all(|b| (b' '..127).contains(&b) && b != b':') {
        cx.refuse_text(item, format!("{text:?} is not up to 255 ASCII characters without :"));
    } else {
        draft.socket().descriptor_name = Some(text);
    }
}

fn service(draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    let mut names = Vec::new();
    cx.units(&mut names, item);
    let mut names = names.into_iter();
    let Some(first) = names.next() else {
        if cx.text(item).is_some_and(|text| text.trim().is_empty()) {
            draft.socket().service = None;
        }
        return;
    };
    if names.next().is_some() {
        cx.refuse_text(item, "a socket is for one service; Sockets= of others can name it too");
    } else if first.name.kind() == UnitKind::Service {
        draft.socket().service = Some(first.name);
    } else {
        cx.refuse_text(item, format!("{} is not a service", first.name));
    }
}
