//! What a peer must be called: rules on subject alternative names, as Envoy's `StringMatcher` has them.

use proxyless_patterns::Pattern;
use rustls::pki_types::ServerName;

#[derive(Debug)]
pub struct NameRule {
    kind: Kind,
    ignore_case: bool,
}

#[derive(Debug)]
enum Kind {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    /// With its text; the whole name has to match.
    Regex(String, Pattern),
}

impl NameRule {
    /// `kind` is `exact`, `prefix`, `suffix`, `contains` or `regex`.
    pub fn new(kind: &str, value: &str, ignore_case: bool) -> Result<Self, String> {
        let text = if ignore_case { value.to_ascii_lowercase() } else { value.to_owned() };
        let kind = match kind {
            "exact" => Kind::Exact(text),
            "prefix" => Kind::Prefix(text),
            "suffix" => Kind::Suffix(text),
            "contains" => Kind::Contains(text),
            "regex" => {
                let pattern = Pattern::new(value).map_err(|error| format!("name pattern {value:?}: {error}"))?;
                Kind::Regex(value.to_owned(), pattern)
            }
            other => return Err(format!("{other:?} is no kind of name rule")),
        };
        Ok(Self { kind, ignore_case })
    }

    pub fn fits(&self, name: &str) -> bool {
        let lowered;
        let name = if self.ignore_case {
            lowered = name.to_ascii_lowercase();
            &lowered
        } else {
            name
        };
        match &self.kind {
            Kind::Exact(text) => name == text,
            Kind::Prefix(text) => name.starts_with(text),
            Kind::Suffix(text) => name.ends_with(text),
            Kind::Contains(text) => name.contains(text),
            Kind::Regex(_, pattern) => pattern.matches(name) == Ok(true), // a name too long to say is none of ours
        }
    }
}

impl NameRule {
    /// An exact rule as the name of a host.
    pub fn host(&self) -> Option<ServerName<'_>> {
        match &self.kind {
            Kind::Exact(text) => ServerName::try_from(text.as_str()).ok(),
            _ => None,
        }
    }
}

impl std::fmt::Display for NameRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            Kind::Exact(text) => write!(f, "{text}"),
            Kind::Prefix(text) => write!(f, "{text}*"),
            Kind::Suffix(text) => write!(f, "*{text}"),
            Kind::Contains(text) => write!(f, "*{text}*"),
            Kind::Regex(text, _) => write!(f, "/{text}/"),
        }
    }
}

/// The trust domain of a SPIFFE id (SPIFFE-ID, section 2): `spiffe://TRUST-DOMAIN/PATH`.
pub fn trust_domain(id: &str) -> Option<&str> {
    let (domain, path) = id.strip_prefix("spiffe://")?.split_once('/')?;
    (!domain.is_empty() && !path.is_empty()).then_some(domain)
}

#[cfg(test)]
mod tests {
    use super::NameRule;

    #[test]
    fn a_pattern_has_to_match_the_whole_name_however_it_is_written() {
        let fits = |pattern, name| NameRule::new("regex", pattern, false).unwrap().fits(name);
        let ours = "spiffe://td/ns/a/sa/b";
        assert!(fits("spiffe://td/.*", ours));
        assert!(!fits("x|spiffe://td/ns", ours));
        assert!(!fits("(?m)spiffe://td/ns/a/sa/b$", "spiffe://td/ns/a/sa/b\n"));
        assert!(NameRule::new("regex", "x)|(?:spiffe.*", false).is_err());
        assert!(NameRule::new("regex", "(?x)a", false).is_err());
    }

    #[test]
    fn case_is_ascii_s() {
        let rule = NameRule::new("exact", "KELVIN.example", true).unwrap();
        assert!(rule.fits("kelvin.Example"));
        assert!(!rule.fits("\u{212a}elvin.example"));
    }
}
