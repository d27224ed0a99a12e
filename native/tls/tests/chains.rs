//! Chains are chosen as Envoy chooses them: server name, then transport, then offered protocols, without a way back.

mod common;

use common::chain;
use proxyless_tls::chains::{Chain, Chains, Hello};

fn named(name: &str, server_names: &[&str]) -> Chain {
    let mut chain = chain(name, "", &[], None);
    chain.server_names = server_names.iter().map(|name| (*name).to_owned()).collect();
    chain
}

fn selected(chains: Vec<Chain>, hello: &Hello) -> Option<String> {
    Chains { chains, otherwise: None }.select(hello).map(|chain| chain.name.to_string())
}

fn tls(offered: &[&str]) -> Hello {
    Hello { tls: true, protocols: offered.iter().map(|name| name.as_bytes().to_vec()).collect(), server_name: None }
}

#[test]
fn the_first_offered_protocol_that_a_chain_names_decides() {
    let chains = || {
        vec![
            chain("tcp", "tls", &["istio-peer-exchange", "istio"], None),
            chain("http", "tls", &["istio-h2"], None),
            chain("any", "tls", &[], None),
        ]
    };
    assert_eq!(selected(chains(), &tls(&["istio-h2", "istio", "h2"])).as_deref(), Some("http"));
    assert_eq!(selected(chains(), &tls(&["istio", "istio-h2"])).as_deref(), Some("tcp"));
    assert_eq!(selected(chains(), &tls(&["h2"])).as_deref(), Some("any"));
    assert_eq!(selected(chains(), &tls(&[])).as_deref(), Some("any"));
}

#[test]
fn the_transport_that_is_named_goes_before_any_and_there_is_no_way_back() {
    let chains = || vec![chain("tls", "tls", &["istio"], None), chain("any", "", &[], None)];
    assert_eq!(selected(chains(), &Hello::default()).as_deref(), Some("any"));
    assert_eq!(selected(chains(), &tls(&["istio"])).as_deref(), Some("tls"));
    assert_eq!(selected(chains(), &tls(&["h2"])), None, "the chains for TLS are all that TLS may have");
}

#[test]
fn the_longest_server_name_goes_first() {
    let chains =
        || vec![named("exact", &["a.b.c"]), named("near", &["*.b.c"]), named("far", &["*.c"]), named("none", &[])];
    let asked = |name: Option<&str>| Hello { server_name: name.map(str::to_owned), ..tls(&[]) };
    for (name, chain) in [
        (Some("a.b.c"), "exact"),
        (Some("x.b.c"), "near"),
        (Some("x.y.b.c"), "near"),
        (Some("x.c"), "far"),
        (Some("d"), "none"),
        (None, "none"),
    ] {
        assert_eq!(selected(chains(), &asked(name)).as_deref(), Some(chain), "{name:?}");
    }
}

#[test]
fn what_no_chain_takes_goes_to_the_default_one() {
    let chains = Chains {
        chains: vec![chain("tls", "tls", &["istio"], None)],
        otherwise: Some(chain("default", "", &[], None)),
    };
    assert_eq!(&*chains.select(&tls(&["h2"])).unwrap().name, "default");
}
