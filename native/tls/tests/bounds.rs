//! What a stranger's certificates cost is settled by their number, before a signature is looked at; honest chains pass.

mod common;

use common::*;
use proxyless_tls::bounds::{LARGEST, MOST, tried};
use proxyless_tls::material::Roots;
use proxyless_tls::verify::Verifier;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::KeyUsage;

/// A CA within another, and its certificate.
fn within(issuer: &Issuer<'static, KeyPair>, name: &str) -> (Issuer<'static, KeyPair>, CertificateDer<'static>) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::OrganizationName, name);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    (Issuer::new(params, key), certificate.der().clone())
}

fn leaf(issuer: &Issuer<'static, KeyPair>) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(CLIENT.try_into().unwrap())];
    params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
}

fn der(root: &Ca) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(root.pem.as_bytes()).unwrap()
}

/// How it ends, and how many signatures were looked at for that.
fn verify(roots: &[&Ca], leaf: &CertificateDer<'_>, between: &[CertificateDer<'_>]) -> (Result<(), String>, usize) {
    let pem: String = roots.iter().map(|root| root.pem.as_str()).collect();
    let verifier = Verifier::new(Some(Roots::from_pem(pem.as_bytes()).unwrap()), of_mesh(Vec::new()), true);
    let before = tried();
    let result = verifier.check(leaf, between, UnixTime::now(), KeyUsage::client_auth());
    let why = result.map_err(|error| proxyless_tls::refusal::take_reason().unwrap_or_else(|| error.to_string()));
    (why, tried() - before)
}

#[test]
fn too_many_certificates_are_not_looked_at() {
    let (root, stranger) = (ca("mesh"), ca("mesh"));
    for count in [MOST, 99] {
        let between: Vec<_> = (0..count).map(|_| within(&stranger.issuer, "mesh").1).collect();
        let (result, tried) = verify(&[&root], &leaf(&stranger.issuer), &between);
        assert!(result.unwrap_err().contains(&format!("the peer shows {} certificates", count + 1)));
        assert_eq!(tried, 0);
    }
}

#[test]
fn too_large_certificates_are_not_looked_at() {
    let root = ca("mesh");
    let names: Vec<_> = (0..900).map(|number| format!("{CLIENT}/{number:030}")).collect();
    let large = root.leaf(&names.iter().map(String::as_str).collect::<Vec<_>>(), |_| {});
    let large = CertificateDer::from_pem_slice(large.chain.as_bytes()).unwrap();
    assert!(large.len() > LARGEST);
    let (result, tried) = verify(&[&root], &large, &[]);
    assert!(result.unwrap_err().contains("bytes"));
    assert_eq!(tried, 0);
}

#[test]
fn certificates_of_one_name_are_not_tried_in_every_order() {
    let (root, stranger) = (ca("mesh"), ca("mesh"));
    for count in 1..MOST {
        let between: Vec<_> = (0..count).map(|_| within(&stranger.issuer, "mesh").1).collect();
        let (result, tried) = verify(&[&root], &leaf(&stranger.issuer), &between);
        assert!(result.is_err());
        assert!(tried <= 4, "{count} certificates of one name: {tried} signatures");
    }
}

#[test]
fn the_mesh_s_own_intermediate_does_not_help_a_stranger_to_more() {
    let (root, stranger) = (ca("mesh"), ca("mesh"));
    let (_, own) = within(&root.issuer, "mesh");
    let mut between = vec![own];
    between.extend((0..MOST - 2).map(|_| within(&stranger.issuer, "mesh").1));
    let (result, tried) = verify(&[&root], &leaf(&stranger.issuer), &between);
    assert!(result.is_err());
    assert!(tried <= 4 * 6, "{tried} signatures");
}

#[test]
fn honest_chains_are_as_long_and_as_ambiguous_as_they_were() {
    let roots: Vec<_> = (0..12).map(|_| ca("mesh")).collect();
    let all: Vec<_> = roots.iter().collect();
    for root in &roots {
        assert!(verify(&all, &leaf(&root.issuer), &[]).0.is_ok());
        // An intermediate of the roots' own name, and the root shown as well.
        let (between, shown) = within(&root.issuer, "mesh");
        assert!(verify(&all, &leaf(&between), std::slice::from_ref(&shown)).0.is_ok());
        assert!(verify(&all, &leaf(&between), &[shown, der(root)]).0.is_ok());
        // The intermediate before this one is still shown.
        let ((_, old), (new, shown)) = (within(&root.issuer, "between"), within(&root.issuer, "between"));
        assert!(verify(&all, &leaf(&new), &[old, shown]).0.is_ok());
    }
    let mut issuer = within(&roots[0].issuer, "1");
    let mut between = vec![issuer.1];
    for depth in 2..=5 {
        issuer = within(&issuer.0, &depth.to_string());
        between.insert(0, issuer.1);
    }
    assert!(verify(&all, &leaf(&issuer.0), &between).0.is_ok());
}
