//! Verdicts in the XML that JUnit writes and other tools read.

use crate::verdict::Verdict;

/// A test suite in the XML that JUnit writes: a test for each verdict, and one that was skipped for each name of those
/// that were not run.
///
/// ```
/// use sim_check::{check, junit};
/// use sim_core::World;
///
/// let verdict = check("waits").seeds(10).verdict(|_: World| async {});
/// let xml = junit("simulations", &[verdict], &["costly".to_owned()]);
/// assert!(xml.contains("<testcase classname=\"simulations\" name=\"waits\""));
/// assert!(xml.contains("tests=\"2\" failures=\"0\" skipped=\"1\""));
/// ```
pub fn junit(suite: &str, verdicts: &[Verdict], skipped: &[String]) -> String {
    let suite = escaped(suite);
    let failed = verdicts.iter().filter(|verdict| !verdict.is_green()).count();
    let seconds = |verdict: &Verdict| verdict.wall.as_secs_f64();
    let all: f64 = verdicts.iter().map(seconds).sum();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let count = verdicts.len() + skipped.len();
    let left_out =
        if skipped.is_empty() { String::new() } else { format!(" skipped=\"{}\"", skipped.len()) };
    let head = format!("tests=\"{count}\" failures=\"{failed}\"{left_out} time=\"{all:.3}\"");
    xml += &format!("<testsuites {head}>\n  <testsuite name=\"{suite}\" {head}>\n");
    for verdict in verdicts {
        let (name, time) = (escaped(&verdict.name), seconds(verdict));
        let begin =
            format!("    <testcase classname=\"{suite}\" name=\"{name}\" time=\"{time:.3}\">");
        xml += &begin;
        let text = escaped(&verdict.to_string());
        if verdict.is_green() {
            xml += &format!("<system-out>{text}</system-out>");
        } else {
            let first = verdict.failures.first();
            let message = first.map_or("something never happened", |failed| &failed.error);
            xml += &format!("<failure message=\"{}\">{text}</failure>", escaped(message));
        }
        xml += "</testcase>\n";
    }
    for name in skipped.iter().map(|name| escaped(name)) {
        xml += &format!("    <testcase classname=\"{suite}\" name=\"{name}\" time=\"0.000\">");
        xml += "<skipped message=\"interrupted before it was run\"/></testcase>\n";
    }
    xml + "  </testsuite>\n</testsuites>\n"
}

/// Text as it stands in an attribute or between tags. Characters that XML cannot have become `\u{FFFD}`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\n' => out += "&#10;",
            '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use sim_core::World;

    use super::*;
    use crate::check;

    #[test]
    fn text_is_escaped() {
        assert_eq!(escaped("a<b> & \"c\"\n\u{1b}"), "a&lt;b&gt; &amp; &quot;c&quot;&#10;\u{FFFD}");
    }

    #[test]
    fn a_report_has_a_test_for_each_verdict() {
        let green = check("green").seeds(1).verdict(|_: World| async {});
        let red = check("a<b")
            .seeds(1)
            .verdict(|_: World| async { Err::<(), _>(std::io::Error::other("\"it\" broke")) });
        let xml = junit("checks", &[green, red], &[]);
        assert!(xml.contains("tests=\"2\" failures=\"1\" time="), "{xml}");
        assert!(
            xml.contains("name=\"a&lt;b\"") && xml.contains("message=\"&quot;it&quot; broke\"")
        );
        assert_eq!(xml.matches("<testcase ").count(), xml.matches("</testcase>").count());
    }
}
