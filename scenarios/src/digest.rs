//! A checksum of a stream of bytes.

/// A 64-bit checksum of bytes that come in pieces, cut anywhere.
///
/// It multiplies and rotates once for eight bytes, so that it costs a scenario little. It finds
/// lost, doubled, reordered and changed bytes; it withstands no attacker.
///
/// ```
/// use scenarios::Digest;
///
/// let mut pieces = Digest::default();
/// pieces.update(b"one body, ");
/// pieces.update(b"cut anywhere");
/// assert_eq!(pieces.finish(), Digest::of(b"one body, cut anywhere"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Digest {
    state: u64,
    bytes: u64,
    /// The bytes of a word that is not complete, and how many they are.
    tail: [u8; 8],
    tail_bytes: usize,
}

/// An odd constant without a pattern: 2⁶⁴ over the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

impl Digest {
    /// The checksum of `data` alone.
    pub fn of(data: &[u8]) -> u64 {
        let (words, rest) = data.as_chunks::<8>();
        let state = words.iter().fold(0, |state, word| fold(state, u64::from_le_bytes(*word)));
        let last = match data.last_chunk::<8>() {
            // The last bytes of the last eight: one load, where a copy of unknown length is a call.
            Some(eight) => (u64::from_le_bytes(*eight) >> (56 - 8 * (rest.len() & 7))) >> 8,
            None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        end(state, last, data.len() as u64)
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, mut data: &[u8]) {
        self.bytes += data.len() as u64;
        if self.tail_bytes > 0 {
            let taken = data.len().min(8 - self.tail_bytes);
            self.tail[self.tail_bytes..][..taken].copy_from_slice(&data[..taken]);
            self.tail_bytes += taken;
            data = &data[taken..];
            if self.tail_bytes < 8 {
                return;
            }
            self.state = fold(self.state, u64::from_le_bytes(self.tail));
            self.tail_bytes = 0;
        }
        let (words, rest) = data.as_chunks::<8>();
        for word in words {
            self.state = fold(self.state, u64::from_le_bytes(*word));
        }
        self.tail[..rest.len()].copy_from_slice(rest);
        self.tail_bytes = rest.len();
    }

    /// How many bytes it has taken in.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The checksum of all bytes so far.
    pub fn finish(&self) -> u64 {
        let mut word = [0; 8];
        word[..self.tail_bytes].copy_from_slice(&self.tail[..self.tail_bytes]);
        end(self.state, u64::from_le_bytes(word), self.bytes)
    }
}

fn fold(state: u64, word: u64) -> u64 {
    (state.rotate_left(5) ^ word).wrapping_mul(MULTIPLIER)
}

/// The checksum, given the state after all whole words, the bytes after them, and how many bytes there
/// were in all.
fn end(state: u64, last: u64, bytes: u64) -> u64 {
    let state = fold(fold(state, last), bytes);
    state ^ (state >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_mean_nothing() {
        let body: Vec<u8> = (0..41).collect();
        let whole = Digest::of(&body);
        for first in 0..body.len() {
            for second in first..body.len() {
                let mut digest = Digest::default();
                digest.update(&body[..first]);
                digest.update(&body[first..second]);
                digest.update(&body[second..]);
                assert_eq!((digest.finish(), digest.bytes()), (whole, 41), "{first}, {second}");
            }
        }
    }

    #[test]
    fn a_whole_of_any_length_is_its_bytes_one_by_one() {
        let body: Vec<u8> = (0..41).map(|byte| byte * 6 + 1).collect();
        for length in 0..body.len() {
            let mut digest = Digest::default();
            body[..length].iter().for_each(|byte| digest.update(&[*byte]));
            assert_eq!(Digest::of(&body[..length]), digest.finish(), "{length}");
        }
    }

    #[test]
    fn length_order_and_every_bit_count() {
        let body = [7_u8; 24];
        let whole = Digest::of(&body);
        assert_ne!(Digest::of(&[]), Digest::of(&[0]));
        assert_ne!(Digest::of(&body[..23]), whole);
        for bit in 0..body.len() * 8 {
            let mut changed = body;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(Digest::of(&changed), whole, "bit {bit}");
        }
        let (mut ab, mut ba) = ([0; 16], [0; 16]);
        (ab[7], ba[15]) = (0x80, 0x80);
        assert_ne!(Digest::of(&ab), Digest::of(&ba));
    }
}
