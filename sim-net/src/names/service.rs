//! Names of services, as `/etc/services` has them.

use sim_core::driver::SocketKind;

const BOTH: [SocketKind; 2] = [SocketKind::Stream, SocketKind::Datagram];
const STREAM: [SocketKind; 1] = [SocketKind::Stream];
const DATAGRAM: [SocketKind; 1] = [SocketKind::Datagram];

/// Names, ports, and what they are used with (IANA's registry, as Debian ships it).
const SERVICES: [(&str, u16, &[SocketKind]); 20] = [
    ("echo", 7, &BOTH),
    ("discard", 9, &BOTH),
    ("daytime", 13, &BOTH),
    ("ftp", 21, &STREAM),
    ("ssh", 22, &STREAM),
    ("telnet", 23, &STREAM),
    ("smtp", 25, &STREAM),
    ("domain", 53, &BOTH),
    ("tftp", 69, &DATAGRAM),
    ("http", 80, &STREAM),
    ("kerberos", 88, &BOTH),
    ("pop3", 110, &STREAM),
    ("ntp", 123, &DATAGRAM),
    ("imap2", 143, &STREAM),
    ("snmp", 161, &BOTH),
    ("ldap", 389, &BOTH),
    ("https", 443, &BOTH),
    ("syslog", 514, &DATAGRAM),
    ("ldaps", 636, &BOTH),
    ("mdns", 5_353, &DATAGRAM),
];

/// The port of a service over a kind of socket, or over any.
pub(super) fn port_of(service: &str, kind: Option<SocketKind>) -> Option<u16> {
    let is_it = |kinds: &[SocketKind]| kind.is_none_or(|kind| kinds.contains(&kind));
    let mut found = SERVICES.iter().filter(|(name, _, kinds)| *name == service && is_it(kinds));
    found.next().map(|&(_, port, _)| port)
}

/// The name of the service at a port of a stream, or the port in digits.
pub(super) fn service_at(port: u16) -> String {
    let found = SERVICES
        .iter()
        .find(|(_, known, kinds)| *known == port && kinds.contains(&SocketKind::Stream));
    found.map_or_else(|| port.to_string(), |(name, ..)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_a_port_for_the_sockets_that_it_is_used_with() {
        assert_eq!(port_of("http", Some(SocketKind::Stream)), Some(80));
        assert_eq!(port_of("http", Some(SocketKind::Datagram)), None);
        assert_eq!((port_of("ntp", None), port_of("nothing", None)), (Some(123), None));
        let named = [53, 80, 123, 0, 65_535].map(service_at);
        assert_eq!(named, ["domain", "http", "123", "0", "65535"]);
    }
}
