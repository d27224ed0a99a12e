//! Connections that a port policy, which was changed, would not let in any more as they are.

use std::sync::{Arc, Weak};
use std::time::Instant;

use proxyless_tls::chains::Arriving;
use proxyless_tls::session::CertificateDer;

use crate::driven::Driven;
use crate::listener::Listener;
use crate::port_policy::{Admission, PortPolicy};

/// Measures a link that came in by `port_policy` by what the port policy lets in now. True: it does not fit, for the
/// first time.
pub fn is_new_misfit<L: Listener>(link: &dyn Driven<L>, port_policy: &Arc<PortPolicy<L>>) -> bool {
    let Some(admission) = link.admission().filter(|admission| Arc::ptr_eq(&admission.port_policy, port_policy)) else {
        return false;
    };
    admission.misfit_since.get().is_none() && !still_fits(link)
}

/// Would the link be let in as it is, if it came now? Its peer's certificate may have expired since, or ours.
pub fn still_fits<L: Listener>(link: &dyn Driven<L>) -> bool {
    let Some(admission) = link.admission() else { return true };
    let fits = fits(link, admission);
    if !fits {
        admission.misfit_since.get_or_init(Instant::now);
    }
    fits
}

fn fits<L: Listener>(link: &dyn Driven<L>, admission: &Admission<L>) -> bool {
    let chains = admission.port_policy.chains();
    let Some(chain) = chains.select(&admission.hello).filter(|chain| chain.refusal.is_none()) else { return false };
    if let Some(admits) = &chain.admits {
        let (local, mut may_stay) = (link.local_name(), true);
        link.look_at_session(&mut |session| {
            let server_name = admission.server_name();
            may_stay = admits(&Arriving { peer: link.peer(), local: &local, server_name, session }).is_ok();
        });
        if !may_stay {
            return false;
        }
    }
    let Some(tls) = &chain.tls else { return shown(link).is_none() };
    let mut taken_by = admission.taken_by.lock();
    if Weak::as_ptr(&taken_by) == Arc::as_ptr(tls) {
        return true;
    }
    let taken = shown(link).is_some_and(|shown| tls.takes(&shown));
    if taken {
        *taken_by = Arc::downgrade(tls);
    }
    taken
}

/// The peer's certificates; None: plaintext.
fn shown<L: Listener>(link: &dyn Driven<L>) -> Option<Vec<CertificateDer<'static>>> {
    let mut shown = None;
    link.look_at_session(&mut |session| shown = session.map(|session| session.peer_certificates().to_vec()));
    shown
}
