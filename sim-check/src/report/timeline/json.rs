//! JSON that can stand inside a page: compact, and nothing in it ends the element that it is in.

use std::io::{self, Write};

/// Writes a value as JSON.
pub(super) trait ToJson {
    fn write(&self, out: &mut impl Write) -> io::Result<()>;
}

impl ToJson for str {
    /// Beside what JSON asks for, `<` is escaped, so that no text ends a script or begins a comment, and so
    /// are the two ends of lines that JavaScript once did not allow in strings.
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"\"")?;
        let mut done = 0;
        for (place, char) in self.char_indices() {
            let needs = matches!(char, '"' | '\\' | '<' | '\u{2028}' | '\u{2029}');
            if !needs && char >= ' ' {
                continue;
            }
            out.write_all(&self.as_bytes()[done..place])?;
            match char {
                '"' => out.write_all(b"\\\"")?,
                '\\' => out.write_all(b"\\\\")?,
                '\n' => out.write_all(b"\\n")?,
                _ => write!(out, "\\u{:04x}", char as u32)?,
            }
            done = place + char.len_utf8();
        }
        out.write_all(&self.as_bytes()[done..])?;
        out.write_all(b"\"")
    }
}

impl ToJson for String {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.as_str().write(out)
    }
}

impl ToJson for i64 {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        write!(out, "{self}")
    }
}

impl ToJson for u64 {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        write!(out, "{self}")
    }
}

impl<T: ToJson> ToJson for Option<T> {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Some(value) => value.write(out),
            None => out.write_all(b"null"),
        }
    }
}

impl<T: ToJson> ToJson for [T] {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"[")?;
        for (number, item) in self.iter().enumerate() {
            if number > 0 {
                out.write_all(b",")?;
            }
            item.write(out)?;
        }
        out.write_all(b"]")
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.as_slice().write(out)
    }
}

/// An object that is written member by member.
pub(super) struct Object<'a, W> {
    out: &'a mut W,
    is_empty: bool,
}

impl<'a, W: Write> Object<'a, W> {
    pub(super) fn begin(out: &'a mut W) -> io::Result<Self> {
        out.write_all(b"{")?;
        Ok(Self { out, is_empty: true })
    }

    pub(super) fn member(&mut self, name: &str, value: &(impl ToJson + ?Sized)) -> io::Result<()> {
        if !self.is_empty {
            self.out.write_all(b",\n")?;
        }
        self.is_empty = false;
        name.write(self.out)?;
        self.out.write_all(b":")?;
        value.write(self.out)
    }

    pub(super) fn end(self) -> io::Result<()> {
        self.out.write_all(b"}")
    }
}

/// Bytes as text: base64 (RFC 4648).
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 0x3f;
            text.push(if digit > group.len() { '=' } else { DIGITS[value as usize].into() });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: &(impl ToJson + ?Sized)) -> String {
        let mut out = Vec::new();
        value.write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn no_text_ends_the_element_that_it_is_in() {
        assert_eq!(json("</script><!--"), r#""\u003c/script>\u003c!--""#);
        assert_eq!(json("a\u{2028}b\u{2029}"), r#""a\u2028b\u2029""#);
        assert_eq!(json("\"\\\n\t\0é→"), r#""\"\\\n\u0009\u0000é→""#);
    }

    #[test]
    fn objects_and_arrays_have_commas_between() {
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out).unwrap();
        object.member("none", &Vec::<i64>::new()).unwrap();
        object.member("some", &[1_i64, -2][..]).unwrap();
        object.member("no", &None::<String>).unwrap();
        object.end().unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"none\":[],\n\"some\":[1,-2],\n\"no\":null}"
        );
    }

    #[test]
    fn bytes_are_those_of_the_rfc() {
        let pairs =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (bytes, text) in pairs {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xfe]), "//4=");
    }
}
