//! A set of policies and what it decides. Policies are looked for by what they cannot do without (a path, a name), so that a
//! thousand of them cost what the few do that could hold.

use std::collections::HashMap;

use crate::Undecided;
use crate::path::alone;
use crate::request::Request;
use crate::rule::{Rule, principals};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Allow,
    Deny,
    /// Who passes it passes; what it matches is told.
    Log,
}

#[derive(Debug)]
pub struct Policy {
    pub name: String,
    /// One of each has to hold.
    pub permissions: Rule,
    pub principals: Rule,
}

impl Policy {
    fn holds(&self, request: &(impl Request + ?Sized)) -> Result<bool, Undecided> {
        Ok(self.permissions.holds(request)? && self.principals.holds(request)?)
    }
}

#[derive(Debug)]
pub struct Rules {
    pub action: Action,
    /// Sorted by name: the first that holds is the one that is told (envoy: a std::map).
    policies: Vec<Policy>,
    by_path: HashMap<Vec<u8>, Vec<u32>>,
    by_name: HashMap<Vec<u8>, Vec<u32>>,
    /// Those that are for no certain path or name.
    others: Vec<u32>,
}

/// What rules say of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict<'r> {
    pub allowed: bool,
    /// The policy that holds.
    pub policy: Option<&'r str>,
}

/// What a policy cannot do without: one of these.
enum Needs<'p> {
    Path(&'p [u8]),
    Name(&'p [u8]),
}

impl Rules {
    pub fn new(action: Action, mut policies: Vec<Policy>) -> Self {
        policies.sort_by(|one, other| one.name.cmp(&other.name));
        let (mut by_path, mut by_name) = (HashMap::<_, Vec<u32>>::new(), HashMap::<_, Vec<u32>>::new());
        let mut others = Vec::new();
        for (number, policy) in policies.iter().enumerate() {
            let number = number as u32;
            let candidates = [needs(&policy.permissions), needs(&policy.principals)];
            let Some(needs) = candidates.into_iter().flatten().min_by_key(Vec::len) else {
                others.push(number);
                continue;
            };
            for need in needs {
                let places = match need {
                    Needs::Path(path) => by_path.entry(path.to_vec()),
                    Needs::Name(name) => by_name.entry(name.to_vec()),
                };
                places.or_default().push(number);
            }
        }
        Self { action, policies, by_path, by_name, others }
    }

    pub fn decide(&self, request: &(impl Request + ?Sized)) -> Result<Verdict<'_>, Undecided> {
        let policy = self.first(request)?.map(|policy| policy.name.as_str());
        let allowed = match self.action {
            Action::Allow => policy.is_some(),
            Action::Deny => policy.is_none(),
            Action::Log => true,
        };
        Ok(Verdict { allowed, policy })
    }

    fn first(&self, request: &(impl Request + ?Sized)) -> Result<Option<&Policy>, Undecided> {
        let mut found: Vec<u32> = Vec::new();
        if !self.by_path.is_empty() {
            if let Some(path) = request.path() {
                found.extend(self.by_path.get(alone(&path)).into_iter().flatten());
            }
        }
        if !self.by_name.is_empty() {
            if let Some(names) = request.names() {
                for name in principals(&names, request)?.iter() {
                    found.extend(self.by_name.get(name).into_iter().flatten());
                }
            }
        }
        if !found.is_empty() {
            found.sort_unstable();
            found.dedup();
        }
        let mut found = found.into_iter().peekable();
        let mut others = self.others.iter().copied().peekable();
        loop {
            let number = match (found.peek(), others.peek()) {
                (Some(one), Some(other)) if one < other => found.next(),
                (_, Some(_)) => others.next(),
                (Some(_), None) => found.next(),
                (None, None) => return Ok(None),
            };
            let Some(policy) = number.and_then(|number| self.policies.get(number as usize)) else { return Ok(None) };
            if policy.holds(request)? {
                return Ok(Some(policy));
            }
        }
    }
}

/// None: it may hold whatever the path and the name.
fn needs(rule: &Rule) -> Option<Vec<Needs<'_>>> {
    match rule {
        Rule::Path(text) => text.exactly().map(|path| vec![Needs::Path(path)]),
        Rule::PathIn(paths) => Some(paths.iter().map(|path| Needs::Path(path)).collect()),
        Rule::Authenticated(Some(text)) => text.exactly().map(|name| vec![Needs::Name(name)]),
        Rule::AuthenticatedIn(names) => Some(names.iter().map(|name| Needs::Name(name)).collect()),
        Rule::All(rules) => rules.iter().filter_map(needs).min_by_key(Vec::len),
        Rule::AnyOf(rules) => {
            let all: Option<Vec<_>> = rules.iter().map(needs).collect();
            all.map(|needs| needs.into_iter().flatten().collect())
        }
        _ => None,
    }
}

/// What one RBAC filter does.
#[derive(Debug, Default)]
pub struct Filter {
    /// None: all may pass.
    pub rules: Option<Rules>,
    /// Asked first, told, and without effect.
    pub shadow: Option<Rules>,
}

impl Policy {
    /// `permissions` and `principals`: one of each has to hold; none: it never does.
    pub fn new(name: String, permissions: Vec<Rule>, principals: Vec<Rule>) -> Self {
        Self { name, permissions: Rule::any_of(permissions), principals: Rule::any_of(principals) }
    }
}
