//! The texts of many records, each as a shape that many share and the numbers in it.

use std::collections::BTreeMap;

use super::classes::Class;
use super::json::ToJson;

/// Where a number stands in a shape.
const GAP: char = '\u{1}';
/// The largest number of digits that a number of JavaScript holds exactly, whatever they are.
const DIGITS_MAX: usize = 15;

/// Texts, taken apart.
#[derive(Debug, Default)]
pub(super) struct Wording {
    numbers_of: BTreeMap<(Class, String), u64>,
    /// The shapes, by their numbers.
    pub(super) shapes: Vec<(Class, String)>,
    /// What fills the gaps of all texts, one after another.
    pub(super) fillings: Vec<Filling>,
}

/// What stands in a gap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Filling {
    Number(u64),
    /// Something that begins with a digit, and that no number prints as.
    Text(String),
}

impl Wording {
    /// Takes a text in: the number of its shape. What fills the gaps of it is added to the fillings.
    pub(super) fn add(&mut self, class: Class, text: &str) -> u64 {
        let mut shape = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let length = if first.is_ascii_alphanumeric() {
                rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len())
            } else {
                first.len_utf8()
            };
            let (word, behind) = rest.split_at(length);
            if first.is_ascii_digit() {
                shape.push(GAP);
                self.fillings.push(filling(word));
            } else {
                shape.push_str(word);
            }
            rest = behind;
        }
        let key = (class, shape);
        if let Some(&number) = self.numbers_of.get(&key) {
            return number;
        }
        let number = self.shapes.len() as u64;
        self.shapes.push(key.clone());
        self.numbers_of.insert(key, number);
        number
    }
}

fn filling(word: &str) -> Filling {
    let is_plain = word.len() <= DIGITS_MAX && (word == "0" || !word.starts_with('0'));
    match word.parse() {
        Ok(number) if is_plain && word.bytes().all(|byte| byte.is_ascii_digit()) => {
            Filling::Number(number)
        }
        _ => Filling::Text(word.to_owned()),
    }
}

impl ToJson for Filling {
    fn write(&self, out: &mut impl std::io::Write) -> std::io::Result<()> {
        match self {
            Self::Number(number) => number.write(out),
            Self::Text(text) => text.write(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> (String, Vec<String>) {
        let mut wording = Wording::default();
        wording.add(Class::Mark, text);
        let fillings = wording.fillings.iter().map(|filling| match filling {
            Filling::Number(number) => number.to_string(),
            Filling::Text(text) => format!("'{text}'"),
        });
        (wording.shapes[0].1.replace(GAP, "_"), fillings.collect())
    }

    #[test]
    fn numbers_are_taken_out_and_names_with_digits_stay() {
        let (text, fillings) = shape("deliver n1@2→server2:7000#1 DATA seq 65 len 64");
        assert_eq!(text, "deliver n1@_→server2:_#_ DATA seq _ len _");
        assert_eq!(fillings, ["2", "7000", "1", "65", "64"]);
    }

    #[test]
    fn what_no_number_prints_as_stays_text() {
        let (text, fillings) =
            shape("timer armed for 1.002000000s, 0x00ff, 0, 007, 1234567890123456");
        assert_eq!(text, "timer armed for _._, _, _, _, _");
        assert_eq!(fillings, ["1", "'002000000s'", "'0x00ff'", "0", "'007'", "'1234567890123456'"]);
    }

    #[test]
    fn texts_of_one_shape_and_class_share_it() {
        let mut wording = Wording::default();
        let numbers =
            ["task 1 polled", "task 22 polled", "turn"].map(|text| wording.add(Class::Task, text));
        assert_eq!(numbers, [0, 0, 1]);
        assert_eq!(wording.add(Class::Turn, "turn"), 2);
        assert_eq!(wording.fillings.len(), 2);
        assert_eq!(wording.add(Class::Turn, ""), 3);
    }
}
