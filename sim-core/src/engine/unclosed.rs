//! What debug mode says of a loop that is closed with something open (contract A-69).

use std::collections::BTreeSet;
use std::rc::Rc;

use super::core::Core;
use super::leftover::ends;
use super::report::ErrorContext;
use super::sources::Registered;

/// Reports what is open and not closing: child processes, transports, servers, each kind in the order of
/// creation. The ends of a child's pipes are the child's.
pub(super) fn report(core: &Rc<Core>) {
    let (mut open, mut servers, mut pipes) = (Vec::new(), Vec::new(), BTreeSet::new());
    let name = |address: &crate::Address| address.to_string();
    for (_, source) in core.sources.borrow().iter() {
        let (rank, what, number, protocol) = match source {
            Registered::Child(child) => {
                pipes.extend((0..3).filter_map(|fd| Some(child.pipe(fd)?.number())));
                if child.is_closing() || child.returncode().is_some() {
                    continue;
                }
                (0, format!("child process {}", child.pid), child.number, child.protocol_name())
            }
            Registered::Stream(it) if !it.is_closing() => {
                let what = format!("transport {}", ends(&it.sockname, &it.peername, &name));
                (1, what, it.number(), it.protocol_name())
            }
            Registered::Endpoint(it) if !it.is_closing() => {
                let what = format!("endpoint {}", ends(&it.sockname, &it.peername, &name));
                (1, what, it.number(), it.protocol_name())
            }
            Registered::Listener(listener) => {
                servers.extend(listener.server());
                continue;
            }
            _ => continue,
        };
        let mut context = ErrorContext::message(format!("unclosed {}", what.trim_end()));
        (context.transport, context.protocol) = (Some(number), protocol);
        open.push((rank, number, context, source.place()));
    }
    open.retain(|(rank, number, ..)| *rank == 0 || !pipes.contains(number));
    open.sort_by_key(|&(rank, number, ..)| (rank, number));
    for (.., context, place) in open {
        core.report_debug(context, place);
    }
    // They have no numbers: by where they were made, then by address.
    servers.sort_by_key(|server| (server.place(), server.addresses()));
    for server in servers {
        server.report_unclosed("unclosed server");
    }
}
