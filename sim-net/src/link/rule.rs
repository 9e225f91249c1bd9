//! Which links have which parameters: rules by host name.

use std::fmt;
use std::str::FromStr;

use super::{Link, LinkError, Rate, parsing};

/// A link's parameters, and between which hosts they hold.
///
/// In text a prefix tells the hosts; what follows is the [text of a link](Link#text). The last rule
/// for a pair holds.
///
/// | prefix | where |
/// | --- | --- |
/// | none | everywhere, unless another rule says otherwise |
/// | `a->b:` | from `a` to `b` |
/// | `a<->b:` | both ways |
/// | `a->*:` | what `a` sends to anybody passes this rate, and then each link (`rate`, `burst`, `queue` alone) |
/// | `*->a:` | what `a` receives, likewise |
///
/// ```
/// use sim_net::LinkRule;
///
/// let rule: LinkRule = "client->server: latency=20ms,loss=5%".parse()?;
/// assert_eq!(rule.to_string(), "client->server: latency=20ms,loss=5%");
/// let uplink: LinkRule = "client->*: rate=1Mbit".parse()?;
/// # Ok::<(), sim_net::LinkError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkRule {
    /// Between any two hosts that no other rule is about.
    Everywhere(Link),
    /// From the first host to the second.
    OneWay(String, String, Link),
    /// Between two hosts, each way for itself.
    BothWays(String, String, Link),
    /// Everything that a host sends to others shares this rate.
    Uplink(String, Rate),
    /// Everything that a host receives from others shares this rate.
    Downlink(String, Rate),
}

impl LinkRule {
    /// The names of the hosts that it is about.
    ///
    /// ```
    /// use sim_net::LinkRule;
    ///
    /// let rule: LinkRule = "client<->server: loss=5%".parse()?;
    /// assert_eq!(rule.hosts().collect::<Vec<_>>(), ["client", "server"]);
    /// # Ok::<(), sim_net::LinkError>(())
    /// ```
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        let (first, second) = match self {
            Self::Everywhere(_) => (None, None),
            Self::OneWay(a, b, _) | Self::BothWays(a, b, _) => (Some(a), Some(b)),
            Self::Uplink(host, _) | Self::Downlink(host, _) => (Some(host), None),
        };
        first.into_iter().chain(second).map(String::as_str)
    }

    /// The host, if it is about a link of one to itself, of which there is none.
    pub(crate) fn of_itself(&self) -> Option<&str> {
        match self {
            Self::OneWay(a, b, _) | Self::BothWays(a, b, _) => (a == b).then_some(a),
            Self::Everywhere(_) | Self::Uplink(..) | Self::Downlink(..) => None,
        }
    }
}

impl From<Link> for LinkRule {
    fn from(link: Link) -> Self {
        Self::Everywhere(link)
    }
}

impl FromStr for LinkRule {
    type Err = LinkError;

    fn from_str(whole: &str) -> Result<Self, LinkError> {
        let Some((prefix, link)) = whole.split_once(':') else {
            return parsing::parse(whole, 1).map(Self::Everywhere);
        };
        let error = |problem: &str| {
            let place = 1 + prefix.chars().take_while(|c| c.is_whitespace()).count();
            let (part, problem) = (prefix.trim().to_owned(), problem.to_owned());
            LinkError::Text { place, part, problem }
        };
        let link = parsing::parse(link, prefix.chars().count() + 2)?;
        let form = "write a->b: or a<->b: before the link, or a->*: and *->a: before a rate";
        let (a, b, both) = match prefix.split_once("<->") {
            Some((a, b)) => (a, b, true),
            None => {
                prefix.split_once("->").map(|(a, b)| (a, b, false)).ok_or_else(|| error(form))?
            }
        };
        let name = |host: &str| match host.trim() {
            "" => Err(error(form)),
            name => Ok(name.to_owned()),
        };
        let (a, b) = (name(a)?, name(b)?);
        let rate = |link: &Link| match link.rate {
            Some(rate) if *link == Link::default().rate(rate) => Ok(rate),
            _ => Err(error("what all links of a host share is a rate: give rate, burst and queue")),
        };
        match (&*a, &*b, both) {
            ("*", "*", _) | ("*", _, true) | (_, "*", true) => Err(error(form)),
            (_, "*", false) => Ok(Self::Uplink(a, rate(&link)?)),
            ("*", _, false) => Ok(Self::Downlink(b, rate(&link)?)),
            _ if a == b => Err(error("a host has no link to itself: name two")),
            (_, _, false) => Ok(Self::OneWay(a, b, link)),
            (_, _, true) => Ok(Self::BothWays(a, b, link)),
        }
    }
}

impl fmt::Display for LinkRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everywhere(link) => link.fmt(f),
            Self::OneWay(a, b, link) => write!(f, "{a}->{b}: {link}"),
            Self::BothWays(a, b, link) => write!(f, "{a}<->{b}: {link}"),
            Self::Uplink(host, rate) => write!(f, "{host}->*: {rate}"),
            Self::Downlink(host, rate) => write!(f, "*->{host}: {rate}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::link::printing::tests::links;

    fn rules() -> impl Strategy<Value = LinkRule> {
        let hosts = || ("[a-z][a-z0-9_.-]{0,8}", "[A-Z][a-z0-9-]{0,8}");
        (links(), hosts(), 0..5).prop_map(|(link, (a, b), which)| match (which, link.rate) {
            (0, _) => LinkRule::Everywhere(link),
            (1, Some(rate)) => LinkRule::Uplink(a, rate),
            (2, Some(rate)) => LinkRule::Downlink(b, rate),
            (3, _) => LinkRule::BothWays(a, b, link),
            _ => LinkRule::OneWay(a, b, link),
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same_rule(rule in rules()) {
            let text = rule.to_string();
            prop_assert_eq!(text.parse::<LinkRule>(), Ok(rule), "{}", text);
        }
    }

    #[test]
    fn errors_name_the_part_and_its_place() {
        let errors = [
            ("a->b: loss=5%, loss", r#""loss" at character 16: write it as name=value"#),
            ("a: loss=5%", r#""a" at character 1: write a->b:"#),
            (" a-> : loss=5%", r#""a->" at character 2: write a->b:"#),
            ("a->a: loss=5%", "a host has no link to itself"),
            ("a->*: loss=5%", "what all links of a host share is a rate"),
            ("*<->a: rate=1Mbit", "write a->b: or a<->b:"),
        ];
        for (text, told) in errors {
            let error = text.parse::<LinkRule>().unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
