//! Frames on a stream of bytes (RFC 6455, section 5), without fragments and extensions.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;

use super::Bug;

/// The longest payload that a decoder takes, in bytes.
pub const PAYLOAD_BYTES_MAX: u64 = 1 << 16;
/// Set in the first byte of a frame that is a whole message.
const FINAL: u8 = 0x80;
/// Set in the second byte of a frame whose payload is masked.
const MASKED: u8 = 0x80;
/// The bytes that begin every frame: its opcode, and a length of seven bits.
const START_BYTES: usize = 2;
const MASK_BYTES: usize = 4;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// A message.
    Binary = 2,
    /// The end; the payload begins with a code of two bytes.
    Close = 8,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub opcode: Opcode,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// The peer does not speak this protocol. The stream cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// The first byte is none of this protocol's.
    Opcode(u8),
    /// The payload is masked and must not be, or the other way round: clients mask, servers do not.
    Masking,
    /// A frame announces a longer payload than is taken.
    TooLong(u64),
}

/// The bytes of a frame, masked with `mask` if there is one.
pub fn encode(opcode: Opcode, payload: &[u8], mask: Option<[u8; MASK_BYTES]>) -> Vec<u8> {
    let masked = if mask.is_some() { MASKED } else { 0 };
    let mut bytes = vec![FINAL | opcode as u8];
    match payload.len() {
        length @ ..=125 => bytes.push(masked | length as u8),
        length @ ..=0xffff => {
            bytes.push(masked | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(masked | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(mask.iter().flatten());
    let mask = mask.unwrap_or_default();
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The part of a frame that is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Start,
    /// The length, if it does not fit into the start: so many bytes.
    Length(usize),
    Mask,
    Payload,
}

/// Cuts a stream into frames: [`feed`](Self::feed) it what comes, then [`poll`](Self::poll) until
/// there is no more.
///
/// It holds one part of a frame, and the frames that were not polled.
///
/// ```
/// use scenarios::zoo::websocket::frame::{self, Decoder, Frame, Opcode};
///
/// let bytes = frame::encode(Opcode::Binary, b"hello", None);
/// let mut decoder = Decoder::of_server();
/// decoder.feed(&bytes[..1])?;
/// assert_eq!(decoder.poll(), None);
/// decoder.feed(&bytes[1..])?;
/// assert_eq!(decoder.poll(), Some(Frame { opcode: Opcode::Binary, payload: b"hello".to_vec() }));
/// # Ok::<(), frame::FrameError>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    /// Whether the peer masks what it sends.
    masked: bool,
    part: Part,
    /// What has come of the part.
    field: Vec<u8>,
    // What is known of the frame.
    opcode: Opcode,
    length: u64,
    mask: [u8; MASK_BYTES],
    frames: VecDeque<Frame>,
    bug: Option<Bug>,
}

impl Decoder {
    /// For what a client sends: masked frames.
    pub fn of_client() -> Self {
        Self::new(true, None)
    }

    /// For what a server sends: frames that are not masked.
    pub fn of_server() -> Self {
        Self::new(false, None)
    }

    pub(super) fn new(masked: bool, bug: Option<Bug>) -> Self {
        Self {
            masked,
            part: Part::Start,
            field: Vec::new(),
            opcode: Opcode::Binary,
            length: 0,
            mask: [0; MASK_BYTES],
            frames: VecDeque::new(),
            bug,
        }
    }

    /// Takes in the next bytes.
    ///
    /// # Errors
    ///
    /// [`FrameError`]: there is no way on then.
    pub fn feed(&mut self, mut data: &[u8]) -> Result<(), FrameError> {
        loop {
            let missing = self.part_bytes() - self.field.len();
            let (taken, rest) = data.split_at(missing.min(data.len()));
            self.field.extend(taken);
            data = rest;
            if taken.len() < missing {
                self.interrupted();
                return Ok(());
            }
            self.part = self.next_part()?;
            self.field.clear();
        }
    }

    /// The next frame that is whole.
    pub fn poll(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }

    fn part_bytes(&self) -> usize {
        match self.part {
            Part::Start => START_BYTES,
            Part::Length(bytes) => bytes,
            Part::Mask => MASK_BYTES,
            Part::Payload => self.length as usize,
        }
    }

    /// A read has ended inside a part, or just before it: the next one goes on there.
    fn interrupted(&mut self) {
        match (self.bug, self.part) {
            // Z01: the two bytes are read as if they could not come apart, and a short read of them
            // is forgotten. One boundary suffices, behind the first byte of a frame: that byte is
            // gone. Without one every frame comes whole, since it is sent by one write and fits
            // into a segment.
            (Some(Bug::AtomicStart), Part::Start) => self.field.clear(),
            // Z02: "the header is read" is told by a length that is not 0. So what is read next is
            // the mask, as long as the bytes of the length that have come are zeros, and then the
            // payload. One boundary suffices, in the length or the mask of a frame: the rest of
            // that part is taken for the next. Without one no part of a header comes apart.
            (Some(Bug::LengthAsState), Part::Length(_) | Part::Mask) => {
                if self.part != Part::Mask {
                    self.length = number(&self.field).min(PAYLOAD_BYTES_MAX);
                }
                self.part = if self.length == 0 { Part::Mask } else { Part::Payload };
                self.field.clear();
            }
            _ => {}
        }
    }

    /// Takes in a whole part, and says what follows it.
    fn next_part(&mut self) -> Result<Part, FrameError> {
        let behind_length = if self.masked { Part::Mask } else { Part::Payload };
        Ok(match self.part {
            Part::Start => {
                self.start()?;
                match self.length {
                    126 => Part::Length(2),
                    127 => Part::Length(8),
                    _ => behind_length,
                }
            }
            Part::Length(_) => {
                self.length = number(&self.field);
                if self.length > PAYLOAD_BYTES_MAX {
                    return Err(FrameError::TooLong(self.length));
                }
                behind_length
            }
            Part::Mask => {
                self.mask.copy_from_slice(&self.field);
                Part::Payload
            }
            Part::Payload => {
                let mut payload = std::mem::take(&mut self.field);
                if self.masked {
                    payload.iter_mut().zip(self.mask.iter().cycle()).for_each(|(b, m)| *b ^= m);
                }
                self.frames.push_back(Frame { opcode: self.opcode, payload });
                Part::Start
            }
        })
    }

    fn start(&mut self) -> Result<(), FrameError> {
        let (first, second) = (self.field[0], self.field[1]);
        self.opcode = match first {
            byte if byte == FINAL | Opcode::Binary as u8 => Opcode::Binary,
            byte if byte == FINAL | Opcode::Close as u8 => Opcode::Close,
            byte => return Err(FrameError::Opcode(byte)),
        };
        if (second & MASKED != 0) != self.masked {
            return Err(FrameError::Masking);
        }
        self.length = u64::from(second & !MASKED);
        Ok(())
    }
}

/// The number that big-endian bytes make.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opcode(byte) => write!(f, "no frame begins with {byte:#04x}"),
            Self::Masking => f.write_str("clients mask their frames, and servers do not"),
            Self::TooLong(bytes) => {
                write!(f, "a payload of {bytes} bytes; at most {PAYLOAD_BYTES_MAX} are taken")
            }
        }
    }
}

impl Error for FrameError {}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [0xa5, 0, 0xff, 3];

    fn frames(decoder: &mut Decoder) -> Vec<Frame> {
        std::iter::from_fn(|| decoder.poll()).collect()
    }

    fn binary(bytes: usize) -> Frame {
        let payload = (0..bytes).map(|byte| byte as u8).collect();
        Frame { opcode: Opcode::Binary, payload }
    }

    #[test]
    fn frames_of_all_lengths_come_out_whole_wherever_the_stream_is_cut() {
        for masked in [true, false] {
            let mask = masked.then_some(MASK);
            let sent: Vec<_> = [0, 1, 125, 126, 300].map(binary).into();
            let stream: Vec<u8> =
                sent.iter().flat_map(|f| encode(f.opcode, &f.payload, mask)).collect();
            for cut in 0..=stream.len() {
                let mut decoder = Decoder::new(masked, None);
                decoder.feed(&stream[..cut]).unwrap();
                decoder.feed(&stream[cut..]).unwrap();
                assert_eq!(frames(&mut decoder), sent, "cut at {cut}, masked: {masked}");
            }
            let mut decoder = Decoder::new(masked, None);
            stream.iter().for_each(|byte| decoder.feed(&[*byte]).unwrap());
            assert_eq!(frames(&mut decoder), sent, "byte by byte, masked: {masked}");
        }
    }

    #[test]
    fn lengths_are_of_seven_sixteen_and_sixty_four_bits() {
        let header = |bytes: usize| encode(Opcode::Binary, &vec![0; bytes], None).len() - bytes;
        assert_eq!([0, 125, 126, 0xffff, 0x1_0000].map(header), [2, 2, 4, 4, 10]);
        let longest = binary(PAYLOAD_BYTES_MAX as usize);
        let mut decoder = Decoder::of_client();
        decoder.feed(&encode(longest.opcode, &longest.payload, Some(MASK))).unwrap();
        assert_eq!(frames(&mut decoder), [longest]);
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        let too_long = encode(Opcode::Binary, &vec![0; PAYLOAD_BYTES_MAX as usize + 1], None);
        assert_eq!(Decoder::of_server().feed(&too_long), Err(FrameError::TooLong(0x1_0001)));
        assert_eq!(Decoder::of_client().feed(&too_long), Err(FrameError::Masking));
        assert_eq!(Decoder::of_server().feed(&[0x02, 0]), Err(FrameError::Opcode(2)));
        assert_eq!(Decoder::of_server().feed(&[0x89, 0]), Err(FrameError::Opcode(0x89)));
    }

    /// Which cuts of a stream a bug minds.
    fn minded(bug: Bug, stream: &[u8], sent: &[Frame]) -> Vec<usize> {
        let minds = |cut: &usize| {
            let mut decoder = Decoder::new(true, Some(bug));
            let fed = decoder.feed(&stream[..*cut]).and_then(|()| decoder.feed(&stream[*cut..]));
            fed.is_err() || frames(&mut decoder) != sent
        };
        (0..=stream.len()).filter(minds).collect()
    }

    #[test]
    fn bugs_mind_cuts_in_headers_alone() {
        let sent = [binary(200), binary(3)];
        let stream = sent.each_ref().map(|f| encode(f.opcode, &f.payload, Some(MASK))).concat();
        // The first header is of 2 + 2 + 4 bytes, the second of 2 + 4.
        let second = 8 + 200;
        assert_eq!(minded(Bug::AtomicStart, &stream, &sent), [1, second + 1]);
        let in_first = [2, 3, 4, 5, 6, 7];
        let in_second = [2, 3, 4, 5].map(|cut| second + cut);
        let both: Vec<usize> = in_first.into_iter().chain(in_second).collect();
        assert_eq!(minded(Bug::LengthAsState, &stream, &sent), both);
    }
}
