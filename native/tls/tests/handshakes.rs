//! Who is let in and who is not, with the sentence that says why, on both sides.

mod common;

use common::*;
use proxyless_tls::chains::{Chains, Hello};
use proxyless_tls::detect::{Detected, HTTP2, Spoken, begins_with};
use proxyless_tls::protocol_detection::ProtocolDetection;
use proxyless_tls::session::Session;
use proxyless_tls::verify::Expected;
use rcgen::{BasicConstraints, IsCa, SanType};

fn refusal_of_server(leaf: &Leaf, root: &Ca, expected: Expected) -> String {
    let own = root.plain_leaf(CLIENT);
    let server = server_tls(root, leaf, true);
    let met = meet(&client_tls(root, Some(&own), expected), &only(chain("mtls", "tls", &[], Some(server))), 1 << 16);
    met.client.err().expect("the client accepted the server")
}

fn refusal_of_client(leaf: Option<&Leaf>, root: &Ca) -> String {
    let server = server_tls(root, &root.plain_leaf(SERVER), true);
    let client = client_tls(root, leaf, of_mesh(Vec::new()));
    let met = meet(&client, &only(chain("mtls", "tls", &[], Some(server))), 1 << 16);
    met.server.err().expect("the server accepted the client")
}

#[test]
fn two_of_one_mesh_meet_wherever_the_records_are_cut() {
    let root = ca("mesh");
    let (own, server) = (root.plain_leaf(CLIENT), server_tls(&root, &root.plain_leaf(SERVER), true));
    for step in [1, 2, 3, 5, 7, 64, 1000, 1 << 16] {
        let client = client_tls(&root, Some(&own), of_mesh(exactly(SERVER)));
        let met = meet(&client, &only(chain("mtls", "tls", &["istio-h2"], Some(server.clone()))), step);
        let opened = met.server.unwrap_or_else(|why| panic!("step {step}: {why}"));
        assert_eq!(taken_by(&opened), "mtls");
        assert_eq!(opened.hello.protocols, [b"istio-h2".to_vec(), b"istio".to_vec(), b"h2".to_vec()]);
        assert_eq!(opened.session.unwrap().peer_certificates().len(), 1);
        assert_eq!(met.client.unwrap().alpn(), b"h2");
    }
}

#[test]
fn a_server_that_is_not_the_expected_one_is_refused() {
    let root = ca("mesh");
    let mesh = || of_mesh(Vec::new());
    let cases: [(&str, Leaf, Expected); 8] = [
        ("expired", root.leaf(&[SERVER], expired), mesh()),
        ("is a clock off?", root.leaf(&[SERVER], not_yet), mesh()),
        ("not of the trust domain", root.plain_leaf("spiffe://elsewhere/ns/demo/sa/server"), mesh()),
        (
            "expected was spiffe://cluster.local/ns/demo/sa/other",
            root.plain_leaf(SERVER),
            of_mesh(exactly("spiffe://cluster.local/ns/demo/sa/other")),
        ),
        ("exactly one URI", root.leaf(&[SERVER, CLIENT], |_| {}), mesh()),
        (
            "exactly one URI",
            root.leaf(&[], |params| {
                params.subject_alt_names = vec![SanType::DnsName("server.demo".try_into().unwrap())]
            }),
            mesh(),
        ),
        ("a CA's own", root.leaf(&[SERVER], |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), mesh()),
        ("no SPIFFE id", root.plain_leaf("https://cluster.local/ns/demo"), mesh()),
    ];
    for (reason, leaf, expected) in cases {
        let why = refusal_of_server(&leaf, &root, expected);
        assert!(why.contains(reason), "{reason:?} is not in {why:?}");
    }
    let stranger = ca("another mesh").plain_leaf(SERVER);
    let why = refusal_of_server(&stranger, &root, mesh());
    assert!(why.contains(SERVER) && why.contains("none of our roots"), "{why}");
}

#[test]
fn a_client_that_is_not_of_the_mesh_is_refused() {
    let root = ca("mesh");
    let stranger = ca("another mesh").plain_leaf(CLIENT);
    for (reason, leaf) in [
        ("expired", root.leaf(&[CLIENT], expired)),
        ("not of the trust domain", root.plain_leaf("spiffe://elsewhere/ns/demo/sa/client")),
        ("exactly one URI", root.leaf(&[SERVER, CLIENT], |_| {})),
        ("none of our roots", stranger),
    ] {
        let why = refusal_of_client(Some(&leaf), &root);
        assert!(why.contains(reason), "{reason:?} is not in {why:?}");
    }
    assert!(refusal_of_client(None, &root).contains("no certificates"));
}

#[test]
fn a_root_that_has_expired_vouches_for_nobody() {
    let old = {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        expired(&mut params);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
    };
    let roots = proxyless_tls::material::Roots::from_pem(old.as_bytes()).unwrap();
    assert!(roots.valid_at(rustls::pki_types::UnixTime::now()).is_empty());
}

#[test]
fn while_roots_rotate_both_generations_meet() {
    let (old, new) = (ca("old"), ca("new"));
    let both = Ca { pem: format!("{}{}", old.pem, new.pem), ..ca("unused") };
    for (mine, theirs) in [(&old, &new), (&new, &old), (&old, &old), (&new, &new)] {
        let server = server_tls(&both, &theirs.plain_leaf(SERVER), true);
        let client = client_tls(&both, Some(&mine.plain_leaf(CLIENT)), of_mesh(exactly(SERVER)));
        let met = meet(&client, &only(chain("mtls", "tls", &[], Some(server))), 1 << 16);
        assert!(met.client.is_ok() && met.server.is_ok());
    }
}

#[test]
fn outside_the_mesh_a_server_is_known_by_its_host() {
    let root = ca("public");
    let own = root.leaf(&[], |params| {
        params.subject_alt_names = vec![
            SanType::DnsName("*.example.com".try_into().unwrap()),
            SanType::IpAddress("10.0.0.1".parse().unwrap()),
        ];
    });
    let server = server_tls(&root, &own, false);
    let meets = |expected: Expected| {
        meet(&client_tls(&root, None, expected), &only(chain("tls", "tls", &[], Some(server.clone()))), 1 << 16)
            .client
            .is_ok()
    };
    let host = |name: &str| Expected { host: Some(name.to_owned().try_into().unwrap()), ..Expected::default() };
    assert!(meets(host("api.example.com")) && meets(host("10.0.0.1")));
    assert!(!meets(host("api.example.org")) && !meets(host("10.0.0.2")));
    // subjectAltNames of a DestinationRule: exact ones fit wildcards and addresses, as Envoy has it.
    assert!(meets(Expected { rules: exactly("api.example.com"), ..Expected::default() }));
    assert!(meets(Expected { rules: exactly("10.0.0.1"), ..Expected::default() }));
    assert!(!meets(Expected { rules: exactly("api.example.org"), ..Expected::default() }));
}

#[test]
fn a_second_connection_resumes_and_is_still_checked() {
    let root = ca("mesh");
    let (own, server) = (root.plain_leaf(CLIENT), server_tls(&root, &root.plain_leaf(SERVER), true));
    let chains = only(chain("mtls", "tls", &[], Some(server)));
    let client = client_tls(&root, Some(&own), of_mesh(exactly(SERVER)));
    assert!(!meet(&client, &chains, 1 << 16).client.unwrap().resumed());
    let again = meet(&client, &chains, 1 << 16);
    assert!(again.client.unwrap().resumed());
    assert_eq!(again.server.unwrap().session.unwrap().peer_certificates().len(), 1);
}

#[test]
fn one_port_takes_plaintext_and_mutual_tls_and_tells_them_apart() {
    let root = ca("mesh");
    let (own, server) = (root.plain_leaf(CLIENT), server_tls(&root, &root.plain_leaf(SERVER), true));
    let chains = Chains {
        chains: vec![chain("mtls", "tls", &["istio-h2"], Some(server)), chain("plain", "raw_buffer", &[], None)],
        otherwise: None,
    };
    let met = meet(&client_tls(&root, Some(&own), of_mesh(Vec::new())), &chains, 1 << 16);
    assert_eq!(taken_by(&met.server.unwrap()), "mtls");
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nand more";
    for step in [1, 4, 100] {
        let mut detection = ProtocolDetection::default();
        let mut first = Vec::new();
        for piece in preface.chunks(step) {
            if !first.is_empty() {
                first.extend_from_slice(piece);
            } else if let Some(opened) = detection.feed(&chains, &[HTTP2], piece).unwrap() {
                assert!(opened.session.is_none());
                assert_eq!(
                    (taken_by(&opened), &opened.hello),
                    ("plain", &Hello { protocols: vec![b"h2c".to_vec()], ..Hello::default() })
                );
                first = opened.first;
            }
        }
        assert_eq!(first, preface);
    }
}

#[test]
fn what_no_chain_lets_in_is_told_so() {
    let root = ca("mesh");
    let server = server_tls(&root, &root.plain_leaf(SERVER), true);
    let strict = only(chain("mtls", "tls", &["istio-h2"], Some(server)));
    let feed = |chains: &Chains, bytes: &[u8]| ProtocolDetection::default().feed(chains, &[HTTP2], bytes);
    let why = feed(&strict, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").err().unwrap();
    assert!(why.contains("plaintext") && why.contains("STRICT"), "{why}");
    assert!(feed(&strict, b"GET / HTTP/1.1\r\n\r\n").err().unwrap().contains("neither TLS nor HTTP/2"));
    let mut refused = chain("mtls", "tls", &[], None);
    refused.refusal = Some(String::from("its certificate is missing"));
    let met = meet(&client_tls(&root, None, of_mesh(Vec::new())), &only(refused), 1 << 16);
    assert!(met.server.err().unwrap().contains("its certificate is missing"));
}

fn knock(first: &[u8]) -> Detected {
    begins_with(b"knock", first)
}

const KNOCK: Spoken = Spoken { name: "knock", detect: knock, application: "", alpn: &["knock"] };

/// Which of them an inner `first` shows, said a byte at a time, where a client offers `alpn`.
fn spoken_inside(alpn: &[&str], spoken: &[Spoken], first: &[u8]) -> Result<Option<usize>, String> {
    let root = ca("mesh");
    let chains = only(chain("mtls", "tls", &[], Some(server_tls(&root, &root.plain_leaf(SERVER), false))));
    let client = client_tls_offering(&root, alpn);
    let mut session = Session::client(&client).unwrap();
    let (mut detection, mut up, mut down) = (ProtocolDetection::default(), Vec::new(), Vec::new());
    let mut unsaid = first.iter();
    loop {
        while session.wants_write() {
            session.write_to(&mut up).unwrap();
        }
        if up.is_empty() && !session.handshaking() {
            let Some(next) = unsaid.next() else { return Ok(None) };
            session.write(&[std::io::IoSlice::new(&[*next])]);
            continue;
        }
        if let Some(opened) = detection.feed(&chains, spoken, &std::mem::take(&mut up))? {
            assert!(first.starts_with(&opened.first));
            return Ok(Some(opened.speaks));
        }
        detection.write_to(&mut down).unwrap();
        session.feed(&std::mem::take(&mut down), &mut |_| {}).unwrap();
    }
}

#[test]
fn what_is_spoken_inside_tls_is_agreed_on_or_shown_by_the_first_bytes() {
    let both = [HTTP2, KNOCK];
    assert_eq!(spoken_inside(&["h2"], &both, b""), Ok(Some(0)));
    assert_eq!(spoken_inside(&[], &both, b"knock"), Ok(Some(1)));
    assert_eq!(spoken_inside(&[], &both, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Ok(Some(0)));
    assert_eq!(spoken_inside(&[], &both, b"kno"), Ok(None));
    assert_eq!(spoken_inside(&[], &[KNOCK], b""), Ok(Some(0)), "the only one is not looked for");
    let why = spoken_inside(&[], &both, b"GET /").unwrap_err();
    assert!(why.contains("the first bytes are not HTTP/2 with prior knowledge nor knock"), "{why}");
}

#[test]
fn in_plaintext_each_detector_has_its_say_in_its_turn() {
    let chains = only(chain("plain", "raw_buffer", &[], None));
    for step in [1, 100] {
        for (said, speaks) in [(&b"knock, knock"[..], 1), (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0)] {
            let mut detection = ProtocolDetection::default();
            let mut pieces = said.chunks(step);
            let opened = pieces.find_map(|piece| detection.feed(&chains, &[HTTP2, KNOCK], piece).unwrap()).unwrap();
            assert_eq!((opened.speaks, opened.session.is_none()), (speaks, true));
        }
    }
}

#[test]
fn what_is_no_http_names_no_protocol_to_filter_chains() {
    let chains = Chains {
        chains: vec![chain("http", "raw_buffer", &["h2c"], None), chain("rest", "raw_buffer", &[], None)],
        otherwise: None,
    };
    let mut detection = ProtocolDetection::default();
    let opened = detection.feed(&chains, &[HTTP2, KNOCK], b"knock").unwrap().unwrap();
    assert_eq!((taken_by(&opened), opened.hello.protocols.len()), ("rest", 0));
}
