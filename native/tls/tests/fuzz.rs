//! Bounded fuzz of sniffing and of certificate verification: nothing panics, nothing is let in that should not be,
//! and memory stays small. FUZZ_SECONDS (default 2) bounds each; the seed is printed when one fails.

mod common;

use common::random::{Random, fuzz, mutate};
use common::*;
use proxyless_tls::chains::Chains;
use proxyless_tls::detect::HTTP2;
use proxyless_tls::material::{Roots, validity};
use proxyless_tls::protocol_detection::ProtocolDetection;
use proxyless_tls::verify::Verifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::KeyUsage;

/// The first flight of a real client.
fn hello(root: &Ca) -> Vec<u8> {
    let mut session = proxyless_tls::session::Session::client(&client_tls(root, None, of_mesh(Vec::new()))).unwrap();
    let mut bytes = Vec::new();
    while session.wants_write() {
        session.write_to(&mut bytes).unwrap();
    }
    bytes
}

fn detect(chains: &Chains, bytes: &[u8], random: &mut Random) {
    let mut detection = ProtocolDetection::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(1 + random.below(rest.len()));
        rest = after;
        match detection.feed(chains, &[HTTP2], piece) {
            Ok(None) => {}
            Ok(Some(opened)) => {
                assert!(opened.session.is_none(), "a handshake without an answer from the client is over");
                assert!(bytes.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
                return;
            }
            Err(_) => {
                assert!(detection.feed(chains, &[HTTP2], b"more").is_err(), "a refused connection goes on");
                return;
            }
        }
    }
    let mut answer = Vec::new();
    detection.write_to(&mut answer).unwrap();
    assert!(answer.len() < 64 * 1024, "{} bytes of answer to {} of a stranger", answer.len(), bytes.len());
}

#[test]
fn no_first_bytes_harm_a_port() {
    let root = ca("mesh");
    let server = server_tls(&root, &root.plain_leaf(SERVER), true);
    let chains = Chains {
        chains: vec![chain("mtls", "tls", &[], Some(server)), chain("plain", "raw_buffer", &[], None)],
        otherwise: None,
    };
    let seeds = [hello(&root), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), b"GET / HTTP/1.1\r\n\r\n".to_vec()];
    fuzz(|random| {
        let seed = &seeds[random.below(seeds.len())];
        detect(&chains, &mutate(seed, random), random);
        let noise: Vec<u8> = (0..random.below(300)).map(|_| random.next() as u8).collect();
        detect(&chains, &noise, random);
    });
}

#[test]
fn no_changed_certificate_is_believed() {
    let root = ca("mesh");
    let leaf = CertificateDer::from_pem_slice(root.plain_leaf(SERVER).chain.as_bytes()).unwrap();
    let roots = Roots::from_pem(root.pem.as_bytes()).unwrap();
    let verifier = Verifier::new(Some(roots), of_mesh(exactly(SERVER)), true);
    let check = |der: &[u8]| verifier.check(&CertificateDer::from(der), &[], UnixTime::now(), KeyUsage::client_auth());
    assert!(check(&leaf).is_ok());
    fuzz(|random| {
        let changed = mutate(&leaf, random);
        let _ = validity(&changed);
        assert!(check(&changed).is_err() || changed == leaf.as_ref(), "believed: {changed:02x?}");
    });
}
