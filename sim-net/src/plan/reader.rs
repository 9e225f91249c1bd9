//! Reading a line of a plan: words, names, and what to say when something else stands there.

use std::fmt;
use std::time::Duration;

use super::error::nearest;
use super::quantity::parse_duration;

/// A place in a line. Copying it is looking ahead.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    line: &'a str,
    /// In bytes.
    at: usize,
}

/// Why a line could not be read, and the character, from 1 on, at which it was noticed.
#[derive(Clone, Debug)]
pub(super) struct Mistake {
    pub(super) column: usize,
    pub(super) kind: MistakeKind,
}

#[derive(Clone, Debug)]
pub(super) enum MistakeKind {
    Unexpected { expected: String, found: String, hint: Option<String> },
    Backwards,
    Version(String),
}

pub(super) type Read<T> = Result<T, Mistake>;

impl<'a> Reader<'a> {
    /// The beginning of a line; a comment is no part of it. A `#` begins a comment at the start of
    /// the line and after a blank.
    pub(super) fn new(line: &'a str) -> Self {
        let (mut quoted, mut escaped, mut blank) = (false, false, true);
        for (index, c) in line.char_indices() {
            if c == '#' && blank && !quoted {
                return Self { line: &line[..index], at: 0 };
            }
            blank = c.is_whitespace();
            if c == '"' && !escaped {
                quoted = !quoted;
            }
            escaped = quoted && c == '\\' && !escaped;
        }
        Self { line, at: 0 }
    }

    fn rest(&self) -> &'a str {
        &self.line[self.at..]
    }

    fn blanks(&mut self) {
        self.at = self.line.len() - self.rest().trim_start().len();
    }

    /// True at the end of the line.
    pub(super) fn is_at_end(&self) -> bool {
        self.rest().trim_start().is_empty()
    }

    /// The characters up to the next blank, without reading them.
    pub(super) fn peek(mut self) -> &'a str {
        self.word()
    }

    /// Reads the characters up to the next blank.
    pub(super) fn word(&mut self) -> &'a str {
        self.blanks();
        let rest = self.rest();
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Reads letters and hyphens.
    pub(super) fn letters(&mut self) -> &'a str {
        self.blanks();
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphabetic() && c != '-').unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Reads `text` if it stands right here.
    pub(super) fn here(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        self.at += if found { text.len() } else { 0 };
        found
    }

    /// Reads `text` if it comes next, after blanks.
    pub(super) fn next(&mut self, text: &str) -> bool {
        let mut ahead = *self;
        ahead.blanks();
        let found = ahead.here(text);
        if found {
            *self = ahead;
        }
        found
    }

    /// Reads `word` if it is the next word.
    pub(super) fn keyword(&mut self, word: &str) -> bool {
        let mut ahead = *self;
        let found = ahead.word() == word;
        if found {
            *self = ahead;
        }
        found
    }

    /// Reads the name of a host: letters, digits, `_`, `-`, `.` and `?`, or anything in quotes.
    pub(super) fn name(&mut self) -> Read<String> {
        self.blanks();
        if self.rest().starts_with('"') {
            return self.quoted();
        }
        let rest = self.rest();
        let is_end =
            |&(index, c): &(usize, char)| !is_of_name(c) || rest[index..].starts_with("->");
        let end = rest.char_indices().find(is_end).map_or(rest.len(), |(index, _)| index);
        if end == 0 {
            return Err(self.expected("a host name"));
        }
        self.at += end;
        Ok(rest[..end].to_owned())
    }

    /// Reads a word, or anything in quotes.
    pub(super) fn text(&mut self, what: &str) -> Read<String> {
        self.blanks();
        if self.rest().starts_with('"') {
            return self.quoted();
        }
        match self.peek() {
            "" => Err(self.expected(what)),
            _ => Ok(self.word().to_owned()),
        }
    }

    fn quoted(&mut self) -> Read<String> {
        let mut value = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((index, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += index + 1;
                    return Ok(value);
                }
                '\\' => match chars.next() {
                    Some((_, c @ ('"' | '\\'))) => value.push(c),
                    Some((_, 'u')) => {
                        let digits: String =
                            chars.by_ref().map(|(_, c)| c).take_while(|&c| c != '}').collect();
                        let code = digits.strip_prefix('{').map(|hex| u32::from_str_radix(hex, 16));
                        let code = code.and_then(Result::ok).and_then(char::from_u32);
                        value.push(code.ok_or_else(|| self.expected("a character, as \\u{41}"))?);
                    }
                    _ => return Err(self.expected("\\\", \\\\ or \\u{..} after a backslash")),
                },
                c => value.push(c),
            }
        }
        Err(self.expected("a closing quotation mark"))
    }

    /// Reads a number of 64 bits, decimal or with `0x`.
    pub(super) fn number(&mut self, what: &str) -> Read<u64> {
        self.blanks();
        let start = *self;
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        self.at += end;
        parse_number(&rest[..end]).ok_or_else(|| start.expected(what))
    }

    /// Reads a number of fewer bits.
    pub(super) fn small_number<T: TryFrom<u64>>(&mut self, what: &str) -> Read<T> {
        let start = *self;
        T::try_from(self.number(what)?).map_err(|_| start.expected(what))
    }

    /// Reads a word and what it stands for; `Err` is what should stand there.
    pub(super) fn parsed<T>(&mut self, parse: impl Fn(&str) -> Result<T, String>) -> Read<T> {
        let start = *self;
        parse(self.word()).map_err(|expected| start.expected(expected))
    }

    /// Reads a duration.
    pub(super) fn duration(&mut self) -> Read<Duration> {
        self.parsed(parse_duration)
    }

    /// The mistake that something else stands here.
    pub(super) fn expected(self, what: impl Into<String>) -> Mistake {
        let found = match self.peek() {
            "" => "the end of the line".to_owned(),
            word => format!("{word:?}"),
        };
        let kind = MistakeKind::Unexpected { expected: what.into(), found, hint: None };
        self.mistake(kind)
    }

    /// The mistake that none of `words` stands here.
    pub(super) fn expected_one_of(self, what: &str, words: &[&str]) -> Mistake {
        let near = nearest(self.peek(), words.iter().copied());
        let hint = near.map_or_else(
            || format!("one of {}", words.join(", ")),
            |near| format!("did you mean {near}?"),
        );
        self.expected(what).with_hint(hint)
    }

    /// A mistake here.
    pub(super) fn mistake(mut self, kind: MistakeKind) -> Mistake {
        self.blanks();
        Mistake { column: self.line[..self.at].chars().count() + 1, kind }
    }
}

impl Mistake {
    pub(super) fn with_hint(mut self, text: impl Into<String>) -> Self {
        if let MistakeKind::Unexpected { hint, .. } = &mut self.kind {
            *hint = Some(text.into());
        }
        self
    }
}

/// A number of 64 bits, decimal or with `0x`.
pub(super) fn parse_number(text: &str) -> Option<u64> {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit());
    match text.strip_prefix("0x") {
        Some(hex) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
            u64::from_str_radix(hex, 16).ok()
        }
        None if is_number => text.parse().ok(),
        _ => None,
    }
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '?')
}

/// A host name as [`Reader::name`] reads it.
pub(super) fn name(name: &str) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        if !name.is_empty() && name.chars().all(is_of_name) {
            f.write_str(name)
        } else {
            quote(f, name)
        }
    })
}

/// A text as [`Reader::text`] reads it, in quotes unless it is a word and `is_plain`.
pub(super) fn text(text: &str, is_plain: bool) -> impl fmt::Display {
    let is_word = !text.starts_with('#')
        && !text.is_empty()
        && text.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != '"');
    fmt::from_fn(move |f| if is_plain && is_word { f.write_str(text) } else { quote(f, text) })
}

fn quote(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            c if c.is_control() => write!(f, "\\u{{{:x}}}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_comment_begins_after_a_blank_and_not_in_a_name() {
        for (line, rest) in [
            ("# all of it", ""),
            ("drop a@1→b:7#2 syn # lost", "drop a@1→b:7#2 syn "),
            ("kill \"a # \\\" # b\"# x", "kill \"a # \\\" # b\"# x"),
            ("kill \"a # \\\" # b\" # x", "kill \"a # \\\" # b\" "),
        ] {
            assert_eq!(Reader::new(line).rest(), rest);
        }
    }

    #[test]
    fn an_arrow_ends_a_name() {
        let mut reader = Reader::new("a-b->c<-d");
        assert_eq!(reader.name().unwrap(), "a-b");
        assert!(reader.here("->"));
        assert_eq!(reader.name().unwrap(), "c");
        assert!(reader.next("<-"));
        assert_eq!((reader.name().unwrap(), reader.is_at_end()), ("d".to_owned(), true));
    }

    #[test]
    fn columns_count_characters() {
        let mut reader = Reader::new("→→  x");
        reader.word();
        assert_eq!(reader.expected("y").column, 5);
    }

    proptest! {
        #[test]
        fn names_and_texts_are_read_back(value in ".*") {
            let (name, text) = (name(&value).to_string(), text(&value, true).to_string());
            prop_assert_eq!(Reader::new(&name).name().unwrap(), value.clone());
            prop_assert_eq!(Reader::new(&text).text("it").unwrap(), value);
        }
    }
}
