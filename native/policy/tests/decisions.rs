//! What rules decide, of requests that are written down here.

use std::borrow::Cow;
use std::cell::Cell;
use std::net::IpAddr;

use proxyless_policy::Undecided;
use proxyless_policy::address::Network;
use proxyless_policy::request::{PeerNames, Request, Value};
use proxyless_policy::rule::{HeaderCondition, HeaderRule, MetadataRule, Rule, ValueRule};
use proxyless_policy::rules::{Action, Policy, Rules};
use proxyless_policy::text::Text;

#[derive(Default)]
struct Written {
    headers: Vec<(&'static str, &'static str)>,
    path: Option<&'static str>,
    names: Option<PeerNames>,
    metadata: Option<Value>,
    most: usize,
    spent: Cell<usize>,
    asked: Cell<usize>,
}

impl Request for Written {
    fn values(&self, name: &str) -> Vec<Cow<'_, [u8]>> {
        self.asked.set(self.asked.get() + 1);
        self.headers.iter().filter(|(own, _)| *own == name).map(|(_, value)| Cow::from(value.as_bytes())).collect()
    }
    fn header_bytes(&self) -> usize {
        self.headers.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
    fn path(&self) -> Option<Cow<'_, [u8]>> {
        self.path.map(|path| Cow::from(path.as_bytes()))
    }
    fn peer(&self) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, 1]))
    }
    fn client(&self) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, 1]))
    }
    fn local(&self) -> Option<(IpAddr, u16)> {
        Some((IpAddr::from([10, 0, 0, 2]), 8080))
    }
    fn server_name(&self) -> Cow<'_, str> {
        "a.example".into()
    }
    fn names(&self) -> Option<Cow<'_, PeerNames>> {
        self.names.as_ref().map(Cow::Borrowed)
    }
    fn subject(&self) -> Result<Vec<u8>, Undecided> {
        Ok(b"CN=subject".to_vec())
    }
    fn metadata(&self, filter: &str, path: &[String]) -> Option<Value> {
        if filter == "f" && path == ["a"] { self.metadata.clone() } else { None }
    }
    fn affords(&self, work: usize) -> bool {
        self.spent.set(self.spent.get() + work);
        self.most == 0 || self.spent.get() <= self.most
    }
}

fn exact(value: &str) -> Text {
    Text::new("exact", value, false).unwrap()
}

fn header(name: &str, condition: HeaderCondition, invert: bool, missing_as_empty: bool) -> Rule {
    Rule::Header(HeaderRule { name: name.into(), condition, invert, missing_as_empty })
}

fn is(name: &str, value: &str) -> Rule {
    header(name, HeaderCondition::Text(exact(value)), false, false)
}

fn named(uris: &[&str], dns: &[&str]) -> Written {
    let bytes = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect();
    Written { names: Some(PeerNames { uris: bytes(uris), dns: bytes(dns) }), ..Written::default() }
}

#[test]
fn each_value_of_a_header_counts_for_itself() {
    let both = Written { headers: vec![("x", "a"), ("x", "b"), ("y", "a,b")], ..Written::default() };
    assert_eq!(is("x", "b").holds(&both), Ok(true));
    assert_eq!(is("x", "a,b").holds(&both), Ok(false));
    assert_eq!(is("y", "b").holds(&both), Ok(false));
    assert_eq!(is("y", "a,b").holds(&both), Ok(true));
    let not = |name| header(name, HeaderCondition::Text(exact("b")), true, false);
    assert_eq!(not("x").holds(&both), Ok(false));
    assert_eq!(not("y").holds(&both), Ok(true));
    assert_eq!(not("z").holds(&both), Ok(false));
    assert_eq!(header("z", HeaderCondition::Text(exact("b")), true, true).holds(&both), Ok(true));
    assert_eq!(header("z", HeaderCondition::Text(exact("")), false, true).holds(&both), Ok(true));
    for (name, wanted, invert, holds) in [
        ("x", true, false, true),
        ("x", false, false, false),
        ("z", false, false, true),
        ("z", true, true, true),
        ("x", true, true, false),
    ] {
        assert_eq!(header(name, HeaderCondition::Present(wanted), invert, false).holds(&both), Ok(holds));
    }
    let numbers = Written { headers: vec![("n", "x"), ("n", " 7 ")], ..Written::default() };
    assert_eq!(header("n", HeaderCondition::Range(7, 8), false, false).holds(&numbers), Ok(true));
    assert_eq!(header("n", HeaderCondition::Range(5, 7), false, false).holds(&numbers), Ok(false));
}

#[test]
fn a_peer_is_called_by_its_first_kind_of_name_only() {
    let holds = |request: &Written, name: &str| Rule::Authenticated(Some(exact(name))).holds(request).unwrap();
    let all = named(&["spiffe://a", "spiffe://b"], &["a.example"]);
    assert!(
        holds(&all, "spiffe://a")
            && holds(&all, "spiffe://b")
            && !holds(&all, "a.example")
            && !holds(&all, "CN=subject")
    );
    let dns = named(&[], &["a.example"]);
    assert!(holds(&dns, "a.example") && !holds(&dns, "CN=subject"));
    assert!(holds(&named(&[], &[]), "CN=subject"));
    // What stands behind a NUL belongs to the name.
    assert!(!holds(&named(&["spiffe://a\0.evil"], &[]), "spiffe://a"));
    let plaintext = Written::default();
    assert!(!holds(&plaintext, "") && !Rule::Authenticated(None).holds(&plaintext).unwrap());
    assert!(Rule::Authenticated(None).holds(&named(&[], &[])).unwrap());
}

#[test]
fn addresses_are_the_peers_its_clients_and_our_own() {
    let request = Written::default();
    let one = |a, b, c, d| Network::new(IpAddr::from([a, b, c, d]), 32).unwrap();
    assert!(Rule::DirectIp(one(10, 0, 0, 1)).holds(&request).unwrap());
    assert!(!Rule::DirectIp(one(192, 0, 2, 1)).holds(&request).unwrap());
    assert!(Rule::ClientIp(one(192, 0, 2, 1)).holds(&request).unwrap());
    assert!(Rule::DestinationIp(one(10, 0, 0, 2)).holds(&request).unwrap());
    assert!(Rule::DestinationPort(8080, 8081).holds(&request).unwrap());
    assert!(!Rule::DestinationPort(8000, 8080).holds(&request).unwrap());
    assert!(Rule::ServerName(exact("a.example")).holds(&request).unwrap());
}

#[test]
fn what_filters_found_is_compared_by_its_kind() {
    let holds = |rule, value: Option<Value>, invert| {
        let rule = Rule::Metadata(MetadataRule { filter: "f".into(), path: vec!["a".into()], value: rule, invert });
        rule.holds(&Written { metadata: value, ..Written::default() }).unwrap()
    };
    let text = |text: &str| Some(Value::Text(text.into()));
    assert!(holds(ValueRule::Text(exact("x")), text("x"), false));
    assert!(!holds(ValueRule::Text(exact("1")), Some(Value::Number(1.0)), false));
    assert!(!holds(ValueRule::Text(exact("x")), None, false) && holds(ValueRule::Text(exact("x")), None, true));
    let list = || ValueRule::List(Box::new(ValueRule::Text(exact("x"))));
    assert!(holds(list(), Some(Value::List(vec![Value::Null, Value::Text("x".into())])), false));
    assert!(!holds(list(), text("x"), false));
    assert!(holds(ValueRule::AnyOf(vec![list(), ValueRule::Text(exact("x"))]), text("x"), false));
    assert!(holds(ValueRule::Present(true), Some(Value::Null), false) && !holds(ValueRule::Present(true), None, false));
    assert!(holds(ValueRule::Null, Some(Value::Null), false) && !holds(ValueRule::Null, None, false));
    assert!(holds(ValueRule::Bool(false), Some(Value::Bool(false)), false));
    assert!(holds(ValueRule::Number(1.5, 1.5), Some(Value::Number(1.5)), false));
    assert!(holds(ValueRule::Number(1.0, 2.0), Some(Value::Number(1.9)), false));
    assert!(!holds(ValueRule::Number(1.0, 2.0), Some(Value::Number(2.0)), false));
    assert!(
        !holds(ValueRule::Present(true), None, false) && holds(ValueRule::Present(true), Some(Value::Struct), false)
    );
}

fn on(path: &'static str, uri: &str) -> Written {
    Written { path: Some(path), ..named(&[uri], &[]) }
}

#[test]
fn the_first_policy_by_name_that_holds_decides_and_the_others_are_not_looked_at() {
    let mut policies: Vec<_> = (0..1000)
        .map(|number| {
            let permission =
                Rule::All(vec![Rule::any_of(vec![Rule::Path(exact(&format!("/s/{number}")))]), is("x", "1")]);
            Policy::new(format!("policy-{number:04}"), vec![permission], vec![Rule::Anything])
        })
        .collect();
    let caller = Rule::All(vec![Rule::any_of(vec![Rule::Authenticated(Some(exact("spiffe://a")))])]);
    policies.push(Policy::new("policy-0500-b".into(), vec![Rule::Anything], vec![caller]));
    policies.push(Policy::new(
        "policy-zzz".into(),
        vec![Rule::Path(Text::new("prefix", "/z", false).unwrap())],
        vec![Rule::Anything],
    ));
    let rules = Rules::new(Action::Deny, policies);
    let decide =
        |request: &Written| rules.decide(request).map(|verdict| (verdict.allowed, verdict.policy.map(str::to_owned)));
    let with_header = |path, uri| Written { headers: vec![("x", "1")], ..on(path, uri) };
    assert_eq!(decide(&with_header("/s/7?q", "b")), Ok((false, Some("policy-0007".into()))));
    assert_eq!(decide(&on("/s/7", "b")), Ok((true, None)));
    assert_eq!(decide(&with_header("/s/7", "spiffe://a")), Ok((false, Some("policy-0007".into()))));
    assert_eq!(decide(&with_header("/s/700", "spiffe://a")), Ok((false, Some("policy-0500-b".into()))));
    assert_eq!(decide(&on("/z/1", "b")), Ok((false, Some("policy-zzz".into()))));
    let request = with_header("/s/7", "b");
    rules.decide(&request).unwrap();
    assert_eq!(request.asked.get(), 1);
}

#[test]
fn actions_are_what_they_say() {
    let rules = |action, policies| Rules::new(action, policies);
    let every = || vec![Policy::new("all".into(), vec![Rule::Anything], vec![Rule::Anything])];
    let request = on("/a", "b");
    let allowed = |rules: Rules| rules.decide(&request).unwrap().allowed;
    assert!(allowed(rules(Action::Allow, every())) && !allowed(rules(Action::Allow, vec![])));
    assert!(!allowed(rules(Action::Deny, every())) && allowed(rules(Action::Deny, vec![])));
    assert!(allowed(rules(Action::Log, every())) && allowed(rules(Action::Log, vec![])));
    let nobody = vec![Policy::new("none".into(), vec![], vec![Rule::Anything])];
    assert!(!allowed(rules(Action::Allow, nobody)));
}

#[test]
fn what_a_request_may_cost_is_bounded_over_all_patterns() {
    let pattern = || Rule::Path(Text::new("regex", "/(a|b)+", false).unwrap());
    let many: Vec<_> = (0..50).map(|n| Policy::new(format!("{n}"), vec![pattern()], vec![Rule::Anything])).collect();
    let rules = Rules::new(Action::Deny, many);
    let request = on("/c", "b");
    assert!(rules.decide(&request).unwrap().allowed);
    let most = request.spent.get();
    assert_eq!(rules.decide(&Written { most: most - 1, ..on("/c", "b") }), Err(Undecided));
    assert!(rules.decide(&Written { most, ..on("/c", "b") }).unwrap().allowed);
}

#[test]
fn looking_for_headers_costs_too_and_values_of_one_are_looked_up() {
    let absent: Vec<_> = (0..50).map(|n| is(&format!("x-{n}"), "a")).collect();
    let rules = Rules::new(Action::Deny, vec![Policy::new("all".into(), absent, vec![Rule::Anything])]);
    let long = || Written { headers: vec![("y", "1"), ("y", "2")], ..on("/c", "b") };
    let request = long();
    assert!(rules.decide(&request).unwrap().allowed);
    let (most, each) = (request.spent.get(), request.header_bytes());
    assert!(each > 0 && most >= 50 * each);
    assert_eq!(rules.decide(&Written { most: most - 1, ..long() }), Err(Undecided));

    let many = |name: &str| (0..1000).map(|n| is(name, &n.to_string())).chain([is("x-tier", "gold")]).collect();
    let rules = Rules::new(Action::Deny, vec![Policy::new("all".into(), many("x-tier"), vec![Rule::Anything])]);
    let request = Written { headers: vec![("x-tier", "silver"), ("x-tier", "gold")], ..on("/c", "b") };
    assert!(!rules.decide(&request).unwrap().allowed);
    assert_eq!(request.asked.get(), 1);
    let request = Written { headers: vec![("x-tier", "silver")], ..on("/c", "b") };
    assert!(rules.decide(&request).unwrap().allowed);
}
