//! Outside of a mesh certificates are taken as grpcio takes them, and what that allows ends there: in the mesh the same
//! certificates are refused, and nobody issues anything for having been taken.

mod common;

use common::random::{fuzz, mutate};
use common::*;
use proxyless_tls::certificate::Certificate;
use proxyless_tls::material::Roots;
use proxyless_tls::refusal::take_reason;
use proxyless_tls::verify::{Expected, Verifier};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::KeyUsage;

const HOST: &str = "localhost";

struct Made {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
}

/// For a host and an identity of the mesh at once, so that names are no reason to refuse it.
fn made(within: Option<&Made>, change: impl FnOnce(&mut CertificateParams)) -> Made {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, HOST);
    params.subject_alt_names =
        vec![SanType::DnsName(HOST.try_into().unwrap()), SanType::URI(SERVER.try_into().unwrap())];
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = match within {
        None => params.self_signed(&key),
        Some(issuer) => params.signed_by(&key, &issuer.issuer),
    };
    let certificate = certificate.unwrap();
    Made { der: certificate.der().clone(), pem: certificate.pem(), issuer: Issuer::new(params, key) }
}

fn authority(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.subject_alt_names.clear();
    params.distinguished_name.push(DnType::OrganizationName, "an authority");
}

/// What `openssl req -x509` makes.
fn of_a_ca(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
}

fn named(name: &'static str) -> impl FnOnce(&mut CertificateParams) {
    move |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
    }
}

fn roots(of: &[&Made]) -> Roots {
    Roots::from_pem(of.iter().map(|made| made.pem.as_str()).collect::<String>().as_bytes()).unwrap()
}

fn checked(verifier: &Verifier, leaf: &CertificateDer<'_>, between: &[CertificateDer<'_>]) -> Result<(), String> {
    let result = verifier.check(leaf, between, UnixTime::now(), KeyUsage::server_auth());
    result.map_err(|error| take_reason().unwrap_or_else(|| error.to_string()))
}

fn outside(of: &[&Made], leaf: &Made, between: &[&Made]) -> Result<(), String> {
    let between: Vec<_> = between.iter().map(|made| made.der.clone()).collect();
    checked(&Verifier::as_grpc(roots(of), Some(HOST.to_owned()), false), &leaf.der, &between)
}

fn in_mesh(of: &[&Made], leaf: &Made, between: &[&Made]) -> Result<(), String> {
    let between: Vec<_> = between.iter().map(|made| made.der.clone()).collect();
    let by_host = Expected { host: Some(HOST.try_into().unwrap()), ..Expected::default() };
    let host = checked(&Verifier::new(Some(roots(of)), by_host, false), &leaf.der, &between);
    let identity = checked(&Verifier::new(Some(roots(of)), of_mesh(Vec::new()), false), &leaf.der, &between);
    assert_eq!(host.is_ok(), identity.is_ok());
    identity
}

#[test]
fn a_certificate_that_is_a_ca_s_is_taken_outside_only() {
    let own = made(None, of_a_ca);
    assert_eq!(outside(&[&own], &own, &[]), Ok(()));
    assert!(in_mesh(&[&own], &own, &[]).unwrap_err().contains("is a CA's own, which no workload may use"));
    let root = made(None, authority);
    let issued = made(Some(&root), of_a_ca);
    assert_eq!(outside(&[&root], &issued, &[]), Ok(()));
    assert!(in_mesh(&[&root], &issued, &[]).unwrap_err().contains("is a CA's own"));
}

#[test]
fn a_certificate_that_is_one_of_the_roots_is_taken_outside_only() {
    let root = made(None, authority);
    let pinned = made(Some(&root), |_| {});
    assert_eq!(outside(&[&pinned], &pinned, &[]), Ok(()));
    assert!(in_mesh(&[&pinned], &pinned, &[]).is_err());
    let other = made(Some(&root), |_| {});
    assert!(outside(&[&pinned], &other, &[]).is_err(), "trusted for another's sake");
    let expired = made(None, |params| {
        of_a_ca(params);
        expired(params);
    });
    assert!(outside(&[&expired], &expired, &[]).unwrap_err().contains("expired"));
}

#[test]
fn whoever_is_taken_issues_nothing() {
    let root = made(None, authority);
    for purposes in [vec![KeyUsagePurpose::DigitalSignature], vec![]] {
        // Not a CA's, or one that may not sign: as grpcio, nothing below it is believed.
        let taken = made(Some(&root), |params| {
            params.distinguished_name.push(DnType::CommonName, "taken");
            if !purposes.is_empty() {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            }
            params.key_usages.clone_from(&purposes);
        });
        assert_eq!(outside(&[&root], &taken, &[]), Ok(()));
        let below = made(Some(&taken), |_| {});
        assert!(outside(&[&root], &below, &[&taken]).is_err(), "{purposes:?}");
        assert!(in_mesh(&[&root], &below, &[&taken]).is_err(), "{purposes:?}");
    }
}

#[test]
fn a_root_that_may_not_sign_vouches_for_nobody() {
    let root = made(None, |params| {
        authority(params);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    });
    let leaf = made(Some(&root), |_| {});
    assert!(outside(&[&root], &leaf, &[]).is_err());
    assert!(in_mesh(&[&root], &leaf, &[]).is_err());
}

#[test]
fn the_signature_is_the_issuer_s_on_the_certificate_itself() {
    let (root, stranger) = (made(None, authority), made(None, authority));
    let forged = made(Some(&stranger), of_a_ca); // the same issuer by name, and another key
    assert!(outside(&[&root], &forged, &[]).is_err());
    let own = made(None, named("somebody"));
    let again = made(None, named("somebody"));
    assert!(outside(&[&own], &again, &[]).is_err());
}

#[test]
fn no_changed_certificate_is_believed() {
    let root = made(None, authority);
    let certificates = [made(Some(&root), of_a_ca), made(Some(&root), |_| {}), made(None, of_a_ca)];
    let verifier = Verifier::as_grpc(roots(&[&root, &certificates[2]]), Some(HOST.to_owned()), false);
    fuzz(|random| {
        let original = &certificates[random.below(certificates.len())].der;
        let changed = mutate(original, random);
        let result = checked(&verifier, &CertificateDer::from(&changed[..]), &[]);
        assert!(result.is_err() || changed == original.as_ref(), "believed: {changed:02x?}");
        if let Some(read) = Certificate::read(&changed) {
            read.as_a_key();
            read.common_name();
            read.addresses();
        }
    });
}
