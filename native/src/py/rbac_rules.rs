//! Rules as Python writes them down: tuples, whose first item says what they are.

use std::net::IpAddr;

use proxyless_policy::address::Network;
use proxyless_policy::rule::{HeaderCondition, HeaderRule, MetadataRule, Rule, ValueRule};
use proxyless_policy::rules::{Action, Policy, Rules};
use proxyless_policy::template;
use proxyless_policy::text::Text;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

type Written<'py> = Bound<'py, PyAny>;

/// Name, permissions, principals.
type PolicyOf<'py> = (String, Vec<Written<'py>>, Vec<Written<'py>>);

fn invalid(why: String) -> PyErr {
    PyValueError::new_err(why)
}

/// None: there are none.
pub fn rules_of(value: &Written<'_>) -> PyResult<Option<Rules>> {
    if value.is_none() {
        return Ok(None);
    }
    let (action, policies): (String, Vec<PolicyOf<'_>>) = value.extract()?;
    let action = match action.as_str() {
        "ALLOW" => Action::Allow,
        "DENY" => Action::Deny,
        "LOG" => Action::Log,
        other => return Err(invalid(format!("{other:?} is no action"))),
    };
    let policies: PyResult<Vec<_>> = policies
        .into_iter()
        .map(|(name, permissions, principals)| {
            let of = |rules: &[Written<'_>]| {
                all(rules).map_err(|error| invalid(format!("policy {name}: {}", error.value(value.py()))))
            };
            Ok(Policy::new(name.clone(), of(&permissions)?, of(&principals)?))
        })
        .collect();
    Ok(Some(Rules::new(action, policies?)))
}

fn all(rules: &[Written<'_>]) -> PyResult<Vec<Rule>> {
    rules.iter().map(rule).collect()
}

fn rule(value: &Written<'_>) -> PyResult<Rule> {
    let (kind, said) = tagged(value)?;
    let item = |number| said.get_item(number);
    Ok(match kind.as_str() {
        "any" => Rule::Anything,
        "and" => Rule::All(all(&item(1)?.extract::<Vec<_>>()?)?),
        "or" => Rule::any_of(all(&item(1)?.extract::<Vec<_>>()?)?),
        "not" => Rule::Not(Box::new(rule(&item(1)?)?)),
        "header" => Rule::Header(HeaderRule {
            name: item(1)?.extract()?,
            condition: header_condition(&item(2)?)?,
            invert: item(3)?.extract()?,
            missing_as_empty: item(4)?.extract()?,
        }),
        "path" => Rule::Path(text(&item(1)?)?),
        "template" => Rule::Path(Text::of(template::pattern(&item(1)?.extract::<String>()?).map_err(invalid)?)),
        "destination_ip" => Rule::DestinationIp(network(&said)?),
        "destination_port" => Rule::DestinationPort(item(1)?.extract()?, item(2)?.extract()?),
        "server_name" => Rule::ServerName(text(&item(1)?)?),
        "authenticated" => {
            let name = item(1)?;
            Rule::Authenticated(if name.is_none() { None } else { Some(text(&name)?) })
        }
        "direct_ip" => Rule::DirectIp(network(&said)?),
        "client_ip" => Rule::ClientIp(network(&said)?),
        "metadata" => Rule::Metadata(MetadataRule {
            filter: item(1)?.extract()?,
            path: item(2)?.extract()?,
            value: value_rule(&item(3)?)?,
            invert: item(4)?.extract()?,
        }),
        other => return Err(invalid(format!("{other:?} is no rule"))),
    })
}

/// `(kind, value, ignore_case)`
fn text(value: &Written<'_>) -> PyResult<Text> {
    let (kind, value, ignore_case): (String, String, bool) = value.extract()?;
    Text::new(&kind, &value, ignore_case).map_err(|why| invalid(format!("{value:?}: {why}")))
}

/// Behind the kind: address and length.
fn network(said: &Bound<'_, PyTuple>) -> PyResult<Network> {
    let (_, address, length): (String, String, u32) = said.extract()?;
    let address: IpAddr = address.parse().map_err(|_| invalid(format!("{address:?} is no address")))?;
    Network::new(address, length).map_err(invalid)
}

fn header_condition(value: &Written<'_>) -> PyResult<HeaderCondition> {
    let (kind, said) = tagged(value)?;
    Ok(match kind.as_str() {
        "range" => HeaderCondition::Range(said.get_item(1)?.extract()?, said.get_item(2)?.extract()?),
        "present" => HeaderCondition::Present(said.get_item(1)?.extract()?),
        _ => HeaderCondition::Text(text(value)?),
    })
}

fn value_rule(value: &Written<'_>) -> PyResult<ValueRule> {
    let (kind, said) = tagged(value)?;
    let item = |number| said.get_item(number);
    Ok(match kind.as_str() {
        "null" => ValueRule::Null,
        "bool" => ValueRule::Bool(item(1)?.extract()?),
        "number" => ValueRule::Number(item(1)?.extract()?, item(2)?.extract()?),
        "present" => ValueRule::Present(item(1)?.extract()?),
        "list" => ValueRule::List(Box::new(value_rule(&item(1)?)?)),
        "or" => {
            let rules: Vec<Written<'_>> = item(1)?.extract()?;
            ValueRule::AnyOf(rules.iter().map(value_rule).collect::<PyResult<_>>()?)
        }
        _ => ValueRule::Text(text(value)?),
    })
}

/// A tuple of what stands in it, the first of which says what it is.
fn tagged<'py>(value: &Bound<'py, PyAny>) -> PyResult<(String, Bound<'py, PyTuple>)> {
    let tuple = value.cast::<PyTuple>()?;
    Ok((tuple.get_item(0)?.extract()?, tuple.clone()))
}
