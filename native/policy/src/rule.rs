//! One condition on a request, and whether it holds.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use crate::Undecided;
use crate::address::Network;
use crate::path::alone;
use crate::request::{PeerNames, Request, Value};
use crate::text::Text;

#[derive(Debug)]
pub enum Rule {
    Anything,
    All(Vec<Rule>),
    AnyOf(Vec<Rule>),
    Not(Box<Rule>),
    Header(HeaderRule),
    /// One of the values of a header is one of many: made by `any_of`.
    HeaderIn(String, HashSet<Vec<u8>>),
    /// Without query and fragment.
    Path(Text),
    /// One of many, looked up: made by `any_of`.
    PathIn(HashSet<Vec<u8>>),
    DestinationIp(Network),
    /// From the first to below the second.
    DestinationPort(u32, u32),
    ServerName(Text),
    /// None: a certificate, or TLS at least, as Envoy has it.
    Authenticated(Option<Text>),
    AuthenticatedIn(HashSet<Vec<u8>>),
    /// The peer itself.
    DirectIp(Network),
    /// Whom it speaks for.
    ClientIp(Network),
    Metadata(MetadataRule),
}

#[derive(Debug)]
pub struct HeaderRule {
    /// Lower case.
    pub name: String,
    pub condition: HeaderCondition,
    pub invert: bool,
    /// A header that is not there is an empty one.
    pub missing_as_empty: bool,
}

#[derive(Debug)]
pub enum HeaderCondition {
    Text(Text),
    /// A decimal number from the first to below the second.
    Range(i64, i64),
    /// Whether it is there.
    Present(bool),
}

#[derive(Debug)]
pub struct MetadataRule {
    pub filter: String,
    pub path: Vec<String>,
    pub value: ValueRule,
    pub invert: bool,
}

#[derive(Debug)]
pub enum ValueRule {
    Null,
    Bool(bool),
    /// Exactly, or from the first to below the second.
    Number(f64, f64),
    Text(Text),
    Present(bool),
    /// A list of which one fits.
    List(Box<ValueRule>),
    AnyOf(Vec<ValueRule>),
}

impl Rule {
    /// One of these has to hold. Exact paths and names are looked up, however many there are.
    pub fn any_of(rules: Vec<Rule>) -> Self {
        let (mut paths, mut names, mut rest) = (HashSet::new(), HashSet::new(), Vec::new());
        let mut headers = BTreeMap::<String, HashSet<Vec<u8>>>::new();
        for rule in rules {
            match rule {
                Self::Path(text) if text.exactly().is_some() => {
                    paths.extend(text.exactly().map(<[u8]>::to_vec));
                }
                Self::Authenticated(Some(text)) if text.exactly().is_some() => {
                    names.extend(text.exactly().map(<[u8]>::to_vec));
                }
                Self::Header(rule) if rule.exactly().is_some() => {
                    let values = rule.exactly().map(<[u8]>::to_vec);
                    headers.entry(rule.name).or_default().extend(values);
                }
                Self::HeaderIn(name, more) => headers.entry(name).or_default().extend(more),
                Self::PathIn(more) => paths.extend(more),
                Self::AuthenticatedIn(more) => names.extend(more),
                Self::AnyOf(more) => rest.extend(more),
                other => rest.push(other),
            }
        }
        rest.splice(..0, headers.into_iter().map(|(name, values)| Self::HeaderIn(name, values)));
        if !paths.is_empty() {
            rest.insert(0, Self::PathIn(paths));
        }
        if !names.is_empty() {
            rest.insert(0, Self::AuthenticatedIn(names));
        }
        if rest.len() == 1 { rest.remove(0) } else { Self::AnyOf(rest) }
    }

    /// Err: it depends on what would cost too much to find out.
    pub fn holds(&self, request: &(impl Request + ?Sized)) -> Result<bool, Undecided> {
        let affords = |work| request.affords(work);
        Ok(match self {
            Self::Anything => true,
            Self::All(rules) => {
                for rule in rules {
                    if !rule.holds(request)? {
                        return Ok(false);
                    }
                }
                true
            }
            Self::AnyOf(rules) => return any(rules, request),
            Self::Not(rule) => !rule.holds(request)?,
            Self::Header(rule) => return rule.holds(request),
            Self::HeaderIn(name, wanted) => values(name, request)?.iter().any(|value| wanted.contains(&**value)),
            Self::Path(text) => match request.path() {
                Some(path) => return text.fits(alone(&path), &affords),
                None => false,
            },
            Self::PathIn(paths) => request.path().is_some_and(|path| paths.contains(alone(&path))),
            Self::DestinationIp(network) => request.local().is_some_and(|(address, _)| network.holds(address)),
            Self::DestinationPort(start, end) => {
                request.local().is_some_and(|(_, port)| (*start..*end).contains(&u32::from(port)))
            }
            Self::ServerName(text) => return text.fits(request.server_name().as_bytes(), &affords),
            Self::Authenticated(None) => request.names().is_some(),
            Self::Authenticated(Some(text)) => {
                let Some(names) = request.names() else { return Ok(false) };
                for name in principals(&names, request)?.iter() {
                    if text.fits(name, &affords)? {
                        return Ok(true);
                    }
                }
                false
            }
            Self::AuthenticatedIn(wanted) => {
                let Some(names) = request.names() else { return Ok(false) };
                principals(&names, request)?.iter().any(|name| wanted.contains(name))
            }
            Self::DirectIp(network) => request.peer().is_some_and(|address| network.holds(address)),
            Self::ClientIp(network) => request.client().is_some_and(|address| network.holds(address)),
            Self::Metadata(rule) => return rule.holds(request),
        })
    }
}

fn any(rules: &[Rule], request: &(impl Request + ?Sized)) -> Result<bool, Undecided> {
    for rule in rules {
        if rule.holds(request)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// By what a peer is called: its URI names, or else its DNS names, or else its subject, and never what stands behind
/// names that are there.
pub fn principals<'n>(
    names: &'n PeerNames,
    request: &(impl Request + ?Sized),
) -> Result<Cow<'n, [Vec<u8>]>, Undecided> {
    Ok(if !names.uris.is_empty() {
        Cow::Borrowed(&names.uris)
    } else if !names.dns.is_empty() {
        Cow::Borrowed(&names.dns)
    } else {
        Cow::Owned(vec![request.subject()?])
    })
}

fn values<'r>(name: &str, request: &'r (impl Request + ?Sized)) -> Result<Vec<Cow<'r, [u8]>>, Undecided> {
    if request.affords(request.header_bytes()) { Ok(request.values(name)) } else { Err(Undecided) }
}

impl HeaderRule {
    /// The only value that fits, where that is all that it says.
    fn exactly(&self) -> Option<&[u8]> {
        match &self.condition {
            HeaderCondition::Text(text) if !self.invert && !self.missing_as_empty => text.exactly(),
            _ => None,
        }
    }

    fn holds(&self, request: &(impl Request + ?Sized)) -> Result<bool, Undecided> {
        let mut values = values(&self.name, request)?;
        if let HeaderCondition::Present(wanted) = self.condition {
            let present = !values.is_empty() || self.missing_as_empty;
            return Ok((present == wanted) != self.invert);
        }
        if values.is_empty() {
            if !self.missing_as_empty {
                return Ok(false);
            }
            values.push(Cow::Borrowed(b""));
        }
        let mut fits = false;
        for value in &values {
            fits |= self.fits(value, request)?;
        }
        Ok(fits != self.invert)
    }

    fn fits(&self, value: &[u8], request: &(impl Request + ?Sized)) -> Result<bool, Undecided> {
        match &self.condition {
            HeaderCondition::Text(text) => text.fits(value, &|work| request.affords(work)),
            HeaderCondition::Range(start, end) => {
                Ok(number(value).is_some_and(|value| (*start..*end).contains(&value)))
            }
            HeaderCondition::Present(wanted) => Ok(*wanted),
        }
    }
}

/// absl::SimpleAtoi: white space around it does not matter.
fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.trim_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']).parse().ok()
}

impl MetadataRule {
    fn holds(&self, request: &(impl Request + ?Sized)) -> Result<bool, Undecided> {
        let value = request.metadata(&self.filter, &self.path);
        if !request.affords(value.as_ref().map_or(0, Value::size)) {
            return Err(Undecided);
        }
        Ok(self.value.fits(value.as_ref(), &|work| request.affords(work))? != self.invert)
    }
}

impl ValueRule {
    fn fits(&self, value: Option<&Value>, affords: &dyn Fn(usize) -> bool) -> Result<bool, Undecided> {
        Ok(match (self, value) {
            (Self::Present(wanted), _) => *wanted && value.is_some(),
            (Self::Null, Some(Value::Null)) => true,
            (Self::Bool(wanted), Some(Value::Bool(value))) => wanted == value,
            (Self::Number(start, end), Some(Value::Number(value))) => value == start || (start < value && value < end),
            (Self::Text(text), Some(Value::Text(value))) => return text.fits(value.as_bytes(), affords),
            (Self::List(rule), Some(Value::List(values))) => {
                for value in values {
                    if rule.fits(Some(value), affords)? {
                        return Ok(true);
                    }
                }
                false
            }
            (Self::AnyOf(rules), _) => {
                for rule in rules {
                    if rule.fits(value, affords)? {
                        return Ok(true);
                    }
                }
                false
            }
            _ => false,
        })
    }
}
