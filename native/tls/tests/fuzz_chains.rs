//! Structured fuzz of chains of both kinds. Certificates: nobody is believed without a way to a root, everybody is who has
//! an unambiguous one, and no order or number of them costs more than its bound. Filter chains: the choice is Envoy's, told
//! a second time here. FUZZ_SECONDS (default 2) bounds each; the seed is printed when one fails.

mod common;

use common::random::{Random, fuzz, mutate};
use common::*;
use proxyless_tls::bounds::{MOST, tried};
use proxyless_tls::chains::{Chain, Chains, Hello};
use proxyless_tls::material::Roots;
use proxyless_tls::verify::Verifier;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::KeyUsage;

// ---- chains of certificates

const NAMES: [&str; 4] = ["mesh", "a", "b", "c"];
const KEYS: usize = 4;

struct Made {
    der: CertificateDer<'static>,
    pem: String,
    /// Of a CA: what it is called, and by which key.
    subject: (usize, usize),
    signer: (usize, usize),
}

fn params(name: usize, ca: bool) -> CertificateParams {
    let mut params = CertificateParams::default();
    if ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::OrganizationName, NAMES[name]);
    } else {
        params.subject_alt_names = vec![SanType::URI(CLIENT.try_into().unwrap())];
    }
    params
}

/// Every CA by every other, and a leaf of each.
fn everybody() -> (Vec<Made>, Vec<Made>) {
    let keys: Vec<_> = (0..KEYS).map(|_| KeyPair::generate().unwrap()).collect();
    let all = || (0..NAMES.len()).flat_map(|name| (0..KEYS).map(move |key| (name, key)));
    let (mut cas, mut leaves) = (Vec::new(), Vec::new());
    for signer in all() {
        let issuer_params = params(signer.0, true);
        let issuer = Issuer::from_params(&issuer_params, &keys[signer.1]);
        for subject in all() {
            let made = params(subject.0, true).signed_by(&keys[subject.1], &issuer).unwrap();
            cas.push(Made { der: made.der().clone(), pem: made.pem(), subject, signer });
        }
        let made = params(0, false).signed_by(&keys[0], &issuer).unwrap();
        leaves.push(Made { der: made.der().clone(), pem: made.pem(), subject: (9, 9), signer });
    }
    (cas, leaves)
}

/// A way from who signed to a root, over what is shown, each at most once.
fn leads(signer: (usize, usize), roots: &[&Made], shown: &[&Made], used: &mut Vec<usize>) -> bool {
    roots.iter().any(|root| root.subject == signer)
        || (0..shown.len()).any(|next| {
            if used.contains(&next) || shown[next].subject != signer {
                return false;
            }
            used.push(next);
            let found = leads(shown[next].signer, roots, shown, used);
            used.pop();
            found
        })
}

fn some<'a>(of: &'a [Made], count: usize, random: &mut Random) -> Vec<&'a Made> {
    (0..count).map(|_| &of[random.below(of.len())]).collect()
}

#[test]
fn who_has_no_way_to_a_root_is_not_believed_and_nobody_costs_more_than_his_bound() {
    let (cas, leaves) = everybody();
    let (mut believed, mut refused) = (0_usize, 0_usize);
    fuzz(|random| {
        let roots = some(&cas, 1 + random.below(3), random);
        let pem: String = roots.iter().map(|root| root.pem.as_str()).collect();
        let verifier = Verifier::new(Some(Roots::from_pem(pem.as_bytes()).unwrap()), of_mesh(Vec::new()), true);
        for _ in 0..20 {
            let leaf = &leaves[random.below(leaves.len())];
            let count = random.below(MOST + 2);
            let shown = some(&cas, count, random);
            let mut between: Vec<_> = shown.iter().map(|made| made.der.clone()).collect();
            let changed = !between.is_empty() && random.below(4) == 0;
            if changed {
                let at = random.below(between.len());
                between[at] = CertificateDer::from(mutate(&between[at], random));
            }
            let before = tried();
            let result = verifier.check(&leaf.der, &between, UnixTime::now(), KeyUsage::client_auth());
            let tried = tried() - before;
            let way = leads(leaf.signer, &roots, &shown, &mut Vec::new());
            assert!(result.is_err() || (way && count < MOST), "believed without a way to a root");
            assert!(tried <= (2 * roots.len() + 2 + 1) * MOST, "{tried} signatures for {count} certificates");
            let names: Vec<_> = shown.iter().chain(&roots).map(|made| made.subject.0).collect();
            let ambiguous = (1..names.len()).any(|at| names[..at].contains(&names[at]));
            assert!(result.is_ok() || !way || changed || ambiguous || count >= MOST, "a plain way was not found");
            if result.is_ok() { believed += 1 } else { refused += 1 }
        }
    });
    assert!(believed > 0 && refused > 0, "{believed} believed, {refused} refused: the seeds are of no use");
}

// ---- lists of filter chains

const SERVER_NAMES: [&str; 6] = ["a.b.c", "*.b.c", "*.c", "b.c", "c", "x.y.b.c"];
const PROTOCOLS: [&str; 4] = ["istio", "istio-h2", "h2", "h2c"];

fn any_of(all: &[&str], most: usize, random: &mut Random) -> Vec<String> {
    (0..random.below(most + 1)).map(|_| all[random.below(all.len())].to_owned()).collect()
}

fn a_chain(number: usize, random: &mut Random) -> Chain {
    let transport = ["tls", "raw_buffer", ""][random.below(3)];
    let mut made = chain(&number.to_string(), transport, &[], None);
    made.server_names = any_of(&SERVER_NAMES, 2, random);
    made.protocols = any_of(&PROTOCOLS, 2, random).into_iter().map(String::into_bytes).collect();
    made
}

type Rank<'a> = &'a dyn Fn(&Chain) -> Option<usize>;

/// Envoy's rule by ranks: how well a chain fits at each step (less is better), None: not at all. At each step the best
/// rank that occurs is kept.
fn envoys_choice<'a>(chains: &'a [Chain], hello: &Hello) -> Option<&'a Chain> {
    let name = hello.server_name.clone().unwrap_or_default();
    let by_name = |chain: &Chain| -> Option<usize> {
        let fits = |pattern: &String| match pattern.strip_prefix('*') {
            Some(suffix) if name.len() > suffix.len() && name.ends_with(suffix) => Some(1000 - suffix.len()),
            None if *pattern == name && !name.is_empty() => Some(0),
            _ => None,
        };
        if chain.server_names.is_empty() { Some(5000) } else { chain.server_names.iter().filter_map(fits).min() }
    };
    let by_transport = |chain: &Chain| match (chain.transport.as_str(), hello.tls) {
        ("tls", true) | ("raw_buffer", false) => Some(0),
        ("", _) => Some(1),
        _ => None,
    };
    let by_protocol = |chain: &Chain| {
        let first = hello.protocols.iter().position(|offered| chain.protocols.contains(offered));
        if chain.protocols.is_empty() { Some(5000) } else { first }
    };
    let steps: [Rank; 3] = [&by_name, &by_transport, &by_protocol];
    let mut left: Vec<&Chain> = chains.iter().collect();
    for rank in steps {
        let best = left.iter().filter_map(|chain| rank(chain)).min()?;
        left.retain(|chain| rank(chain) == Some(best));
    }
    left.first().copied()
}

#[test]
fn the_chain_that_is_chosen_is_envoys() {
    fuzz(|random| {
        let chains: Vec<_> = (0..random.below(7)).map(|number| a_chain(number, random)).collect();
        let otherwise = (random.below(2) == 0).then(|| chain("otherwise", "", &[], None));
        let all = Chains { chains, otherwise };
        for _ in 0..8 {
            let tls = random.below(2) == 0;
            let server_name = (tls && random.below(4) > 0)
                .then(|| ["a.b.c", "z.b.c", "z.c", "c", "b.c", "x.y.b.c", "d"][random.below(7)].to_owned());
            let protocols = any_of(&PROTOCOLS, 3, random).into_iter().map(String::into_bytes).collect();
            let hello = Hello { tls, protocols, server_name };
            let expected = envoys_choice(&all.chains, &hello).or(all.otherwise.as_ref()).map(|chain| &chain.name);
            let chosen = all.select(&hello).map(|chain| &chain.name);
            assert_eq!(chosen, expected, "{hello:?}");
        }
    });
}
