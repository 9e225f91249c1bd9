//! What the bytes of Unix sockets cost of their sender's buffer.
//!
//! The kernel keeps them in socket buffers, and charges a sender for the memory that these take
//! until the receiver has read them. So the default of 208 KiB is 278 messages of one byte, or 231 872
//! bytes in writes of 48 832. The figures are those that Linux 6.18 shows for x86-64.

/// `net.core.wmem_default`.
pub(crate) const SEND_BUFFER: usize = 212_992;
/// `net.core.wmem_max`.
const SEND_BUFFER_MAX: usize = 212_992;
/// `SOCK_MIN_SNDBUF`.
const SEND_BUFFER_MIN: usize = 4_608;
/// A `struct sk_buff`.
const DESCRIPTOR: usize = 256;
/// What stands behind the data in the first piece of memory: a `struct skb_shared_info`.
const TRAILER: usize = 320;
const PAGE: usize = 4_096;
/// The most data of a stream's buffer that lie in its first piece of memory, and in pages.
const HEAD_MAX: usize = PAGE - TRAILER;
const PAGES_MAX: usize = 32 << 10;
/// The most data of a datagram in its first piece of memory, unless all pages are full.
const DATAGRAM_HEAD_MAX: usize = 4 * PAGE - TRAILER;
/// The most pages of a buffer (`MAX_SKB_FRAGS`).
const DATAGRAM_PAGES_MAX: usize = 17 * PAGE;
/// What a datagram must be shorter than the send buffer.
pub(crate) const DATAGRAM_SPARE: usize = 32;

/// What `SO_SNDBUF` makes of what was asked.
pub(crate) fn send_buffer_of(asked: usize) -> usize {
    (asked.min(SEND_BUFFER_MAX) * 2).max(SEND_BUFFER_MIN)
}

/// True if a sender that waited for room is told that there is some.
pub(crate) fn is_writable(charged: usize, send_buffer: usize) -> bool {
    charged * 4 <= send_buffer
}

/// What the first piece of memory costs with this much data in it.
fn head(bytes: usize) -> usize {
    let room = (bytes.next_multiple_of(64) + TRAILER).next_power_of_two().max(512);
    DESCRIPTOR + room
}

/// How much of `bytes` of a stream goes into one buffer, and what that costs.
pub(crate) fn of_stream(bytes: usize, send_buffer: usize) -> (usize, usize) {
    let taken = bytes.min(send_buffer / 2 - 64).min(HEAD_MAX + PAGES_MAX);
    let in_pages = taken.saturating_sub(HEAD_MAX).next_multiple_of(PAGE).min(taken);
    (taken, head(taken - in_pages) + in_pages.next_multiple_of(PAGE))
}

/// What a datagram costs.
pub(crate) fn of_datagram(bytes: usize) -> usize {
    let in_pages = bytes.saturating_sub(DATAGRAM_HEAD_MAX).min(DATAGRAM_PAGES_MAX);
    let in_pages = in_pages.next_multiple_of(PAGE);
    head(bytes - in_pages.min(bytes)) + in_pages
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much a stream takes in writes of `size` bytes, and how many writes that are.
    fn fill(size: usize) -> (usize, usize) {
        let (mut charged, mut total, mut writes) = (0, 0, 0);
        while charged < SEND_BUFFER {
            let mut left = size;
            while left > 0 && charged < SEND_BUFFER {
                let (taken, cost) = of_stream(left, SEND_BUFFER);
                (charged, total, left) = (charged + cost, total + taken, left - taken);
            }
            writes += 1;
        }
        (total, writes)
    }

    /// As measured on Linux 6.18 with a socket pair.
    #[test]
    fn a_stream_takes_as_much_as_linux_takes() {
        for (size, total, writes) in [
            (1, 278, 278),
            (192, 53_376, 278),
            (193, 32_231, 167),
            (448, 74_816, 167),
            (449, 74_983, 167),
            (1_472, 136_896, 93),
            (1_473, 136_989, 93),
            (2_000, 98_000, 49),
            (3_776, 185_024, 49),
            (3_777, 166_188, 44),
            (4_096, 180_224, 44),
            (8_192, 196_608, 24),
            (16_064, 208_832, 13),
            (32_768, 229_376, 7),
            (48_832, 231_872, 5),
            (65_536, 233_152, 4),
            (100_000, 236_544, 3),
            (212_992, 212_992, 1),
            (500_000, 219_264, 1),
        ] {
            assert_eq!(fill(size), (total, writes), "writes of {size}");
        }
    }

    #[test]
    fn as_many_datagrams_wait_as_on_linux() {
        for (size, count) in [
            (0, 278),
            (1_000, 93),
            (10_000, 13),
            (30_000, 7),
            (100_000, 3),
            (200_000, 2),
            (212_960, 1),
        ] {
            assert_eq!(SEND_BUFFER.div_ceil(of_datagram(size)), count, "datagrams of {size}");
        }
    }

    #[test]
    fn a_sender_is_told_of_room_when_three_quarters_are_free() {
        let left = (0..).find(|count| !is_writable(count * of_datagram(1), SEND_BUFFER)).unwrap();
        assert_eq!(left, 70);
        assert_eq!((send_buffer_of(0), send_buffer_of(10_000)), (4_608, 20_000));
        assert_eq!(send_buffer_of(usize::MAX), 425_984);
    }
}
