//! What a connection has done so far, for tests and reports.

/// Counts of one end of a connection. Bytes count data alone.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Counters {
    /// Bytes that the application wrote.
    pub(crate) written: u64,
    /// Bytes sent, each once.
    pub(crate) sent: u64,
    /// Bytes that the peer has acknowledged.
    pub(crate) acknowledged: u64,
    /// Bytes that arrived in order.
    pub(crate) received: u64,
    /// Bytes that the application read.
    pub(crate) read: u64,
    /// Segments with data or FIN that were sent again, probes among them.
    pub(crate) retransmissions: u64,
    /// Times that the retransmission timer ran out.
    pub(crate) timeouts: u64,
    /// Times that a loss was found by what the peer acknowledged.
    pub(crate) fast_recoveries: u64,
    /// Tail loss probes.
    pub(crate) loss_probes: u64,
    /// Probes of a closed window.
    pub(crate) window_probes: u64,
    /// Acknowledgements that acknowledged nothing new while something was out.
    pub(crate) duplicate_acks: u64,
    /// Segments that the peer said to have before it acknowledged them.
    pub(crate) sacked: u64,
    /// Segments that the peer got twice, by its own account (RFC 2883).
    pub(crate) spurious: u64,
}
