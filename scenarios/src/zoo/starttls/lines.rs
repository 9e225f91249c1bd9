//! Lines of text, from a stream of bytes.

/// Cuts a stream into lines that end with `\r\n`.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
}

impl Lines {
    pub(super) fn feed(&mut self, data: &[u8]) {
        self.buffer.extend(data);
    }

    /// The next line, if it is whole. What is no text in it is replaced.
    pub(super) fn poll(&mut self) -> Option<String> {
        let end = self.buffer.windows(2).position(|window| window == b"\r\n")?;
        let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + 2);
        Some(line)
    }

    /// Forgets what is no line yet.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_whole_wherever_the_stream_is_cut() {
        let stream = b"one\r\n\r\nthr\ree\r\nrest";
        for cut in 0..=stream.len() {
            let (mut lines, mut out) = (Lines::default(), Vec::new());
            for piece in [&stream[..cut], &stream[cut..]] {
                lines.feed(piece);
                out.extend(std::iter::from_fn(|| lines.poll()));
            }
            assert_eq!(out, ["one", "", "thr\ree"], "cut at {cut}");
            lines.clear();
            lines.feed(b"\r\n");
            assert_eq!(lines.poll().unwrap(), "");
        }
    }
}
