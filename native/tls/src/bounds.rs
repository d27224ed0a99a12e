//! What a stranger's certificates may cost. All of it is settled before he is believed anything.
//!
//! The search for a way from a leaf to a root tries certificates of one name in every order. What it spends on signatures
//! is that of a root's key on certificates that this root has not signed: a stranger has none that it has. In an honest
//! chain a signature fails only where several roots have one name, or two intermediates do.

use std::cell::{Cell, RefCell};
use std::sync::OnceLock;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm};

/// Certificates in a chain, the leaf among them. Five of one name that lead nowhere have 325 orders.
pub const MOST: usize = 6;
/// Bytes of all of them together.
pub const LARGEST: usize = 32 * 1024;

/// Why such a chain is not looked at.
pub fn check(leaf: &CertificateDer<'_>, between: &[CertificateDer<'_>]) -> Result<(), String> {
    let count = 1 + between.len();
    if count > MOST {
        return Err(format!("the peer shows {count} certificates, and {MOST} are the most that are looked at"));
    }
    let size: usize = leaf.len() + between.iter().map(|certificate| certificate.len()).sum::<usize>();
    if size > LARGEST {
        return Err(format!(
            "the peer's certificates have {size} bytes, and {LARGEST} are the most that are looked at"
        ));
    }
    Ok(())
}

thread_local! {
    static LEFT: Cell<usize> = const { Cell::new(0) };
    static TRIED: Cell<usize> = const { Cell::new(0) };
    /// What is to be verified, and what was signed in its place.
    static STANDS_IN: RefCell<Option<(Vec<u8>, Vec<u8>)>> = const { RefCell::new(None) };
}

/// While `verify` runs on this thread, a signature on `made` is one on `signed`: see `Certificate::as_a_leafs`.
pub fn standing_in<T>(made: &[u8], signed: &[u8], verify: impl FnOnce() -> T) -> T {
    STANDS_IN.set(Some((made.to_vec(), signed.to_vec())));
    let verified = verify();
    STANDS_IN.set(None);
    verified
}

/// Signatures that do not fit, in what this thread verifies next. After the last one all are taken for wrong, unseen.
pub fn allow_failures(count: usize) {
    LEFT.set(count);
}

/// How many signatures of chains this thread has looked at so far.
pub fn tried() -> usize {
    TRIED.get()
}

/// The algorithms, each counting its failures.
pub fn counted(algorithms: &WebPkiSupportedAlgorithms) -> &'static [&'static dyn SignatureVerificationAlgorithm] {
    static COUNTED: OnceLock<Vec<&'static dyn SignatureVerificationAlgorithm>> = OnceLock::new();
    COUNTED.get_or_init(|| {
        // There is one provider, so this happens once, and for good.
        algorithms
            .all
            .iter()
            .map(|algorithm| -> &'static dyn SignatureVerificationAlgorithm {
                Box::leak(Box::new(Counted(*algorithm)))
            })
            .collect()
    })
}

#[derive(Debug)]
struct Counted(&'static dyn SignatureVerificationAlgorithm);

impl SignatureVerificationAlgorithm for Counted {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let Some(left) = LEFT.get().checked_sub(1) else { return Err(InvalidSignature) };
        TRIED.set(TRIED.get() + 1);
        STANDS_IN.with_borrow(|stands_in| {
            let message = match stands_in {
                Some((made, signed)) if made == message => signed,
                _ => message,
            };
            self.0.verify_signature(public_key, message, signature).inspect_err(|_| LEFT.set(left))
        })
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.0.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.0.signature_alg_id()
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}
