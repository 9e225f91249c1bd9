//! One block of ChaCha8, at any place of any stream.
//!
//! `rand_chacha` computes four blocks at a time; a decision wants one, at an address of its own.
//! The tests compare every word with that crate.

/// A 256-bit key, as eight little-endian words.
pub(crate) type Key = [u32; 8];

const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// Block number `counter` of stream `stream`, as eight numbers of 64 bits.
pub(crate) fn block(key: &Key, stream: u64, counter: u64) -> [u64; 8] {
    let mut input = [0_u32; 16];
    input[..4].copy_from_slice(&CONSTANTS);
    input[4..12].copy_from_slice(key);
    input[12] = counter as u32;
    input[13] = (counter >> 32) as u32;
    input[14] = stream as u32;
    input[15] = (stream >> 32) as u32;
    let mut state = input;
    for _ in 0..4 {
        quarter_round(&mut state, 0, 4, 8, 12);
        quarter_round(&mut state, 1, 5, 9, 13);
        quarter_round(&mut state, 2, 6, 10, 14);
        quarter_round(&mut state, 3, 7, 11, 15);
        quarter_round(&mut state, 0, 5, 10, 15);
        quarter_round(&mut state, 1, 6, 11, 12);
        quarter_round(&mut state, 2, 7, 8, 13);
        quarter_round(&mut state, 3, 4, 9, 14);
    }
    std::array::from_fn(|pair| {
        let word = |at: usize| u64::from(state[at].wrapping_add(input[at]));
        word(2 * pair) | word(2 * pair + 1) << 32
    })
}

#[inline(always)]
fn quarter_round(state: &mut [u32; 16], a: usize, b: usize, c: usize, d: usize) {
    state[a] = state[a].wrapping_add(state[b]);
    state[d] = (state[d] ^ state[a]).rotate_left(16);
    state[c] = state[c].wrapping_add(state[d]);
    state[b] = (state[b] ^ state[c]).rotate_left(12);
    state[a] = state[a].wrapping_add(state[b]);
    state[d] = (state[d] ^ state[a]).rotate_left(8);
    state[c] = state[c].wrapping_add(state[d]);
    state[b] = (state[b] ^ state[c]).rotate_left(7);
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn equals_rand_chacha_at_every_place() {
        let seed: [u8; 32] = std::array::from_fn(|i| (i * 7 + 3) as u8);
        let key =
            std::array::from_fn(|i| u32::from_le_bytes(seed[4 * i..4 * i + 4].try_into().unwrap()));
        for stream in [0, 1, 0xdead_beef_0123_4567] {
            for counter in [0_u64, 1, 5, 1 << 33] {
                let mut rng = ChaCha8Rng::from_seed(seed);
                rng.set_stream(stream);
                rng.set_word_pos(u128::from(counter) * 16);
                assert_eq!(block(&key, stream, counter), std::array::from_fn(|_| rng.next_u64()));
            }
        }
    }
}
