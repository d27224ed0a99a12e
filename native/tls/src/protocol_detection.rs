//! How an accepted connection begins: its first bytes tell plaintext from TLS, the chains of the port tell what may
//! go on, and a handshake follows where they say so. Costs little until then: half-open connections are cheap to make.

use std::io::{self, Write};
use std::sync::Arc;

use rustls::server::Acceptor;

use crate::chains::{Admits, Chain, Chains, Hello, Policy};
use crate::detect::{self, Detected, Found, Spoken};
use crate::session::Session;

/// A ClientHello larger than this is nobody's.
const MAX_HELLO: usize = 64 * 1024;

pub struct ProtocolDetection {
    stage: Stage,
    output: Vec<u8>,
}

enum Stage {
    Sniffing(Vec<u8>),
    Hello(Box<Acceptor>, usize),
    Handshake {
        session: Box<Session>,
        hello: Hello,
        chain: Taken,
    },
    /// The handshake is over, and what is spoken inside is still open.
    Inside(Box<Opened>),
    Over,
}

/// The chain that takes a connection: what is kept of it.
#[derive(Clone)]
pub struct Taken {
    pub name: Arc<str>,
    pub policy: Policy,
    pub admits: Admits,
}

impl From<&Chain> for Taken {
    fn from(chain: &Chain) -> Self {
        Self { name: chain.name.clone(), policy: chain.policy.clone(), admits: chain.admits.clone() }
    }
}

/// A connection that may go on: plaintext without a `session`, and what it said already.
pub struct Opened {
    pub session: Option<Box<Session>>,
    pub first: Vec<u8>,
    pub hello: Hello,
    pub chain: Taken,
    /// Which of the port's protocols it speaks.
    pub speaks: usize,
}

impl Default for ProtocolDetection {
    fn default() -> Self {
        Self { stage: Stage::Sniffing(Vec::new()), output: Vec::new() }
    }
}

impl ProtocolDetection {
    /// `chains` are asked for once, when the connection has shown what it is, of what the port has `spoken`. Some: the
    /// connection may go on, and the detection is over. An error is final and says why; what is left to write tells the
    /// peer.
    pub fn feed(&mut self, chains: &Chains, spoken: &[Spoken], bytes: &[u8]) -> Result<Option<Opened>, String> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Sniffing(mut seen) => {
                seen.extend_from_slice(bytes);
                // Before all others, whatever the port speaks.
                match detect::tls(&seen) {
                    Detected::Yes => return self.read_hello(chains, spoken, Box::default(), 0, &seen),
                    Detected::No => match detect::first_of(spoken, &seen) {
                        Found::NotYet => {}
                        Found::This(speaks) => return plaintext(chains, spoken[speaks].application, speaks, seen),
                        Found::Nobody => return Err(unknown("neither TLS nor ", spoken)),
                    },
                    Detected::More => {}
                }
                self.stage = Stage::Sniffing(seen);
                Ok(None)
            }
            Stage::Hello(acceptor, seen) => self.read_hello(chains, spoken, acceptor, seen, bytes),
            Stage::Handshake { session, hello, chain } => self.handshake(spoken, session, hello, chain, bytes),
            Stage::Inside(mut opened) => {
                let Opened { session: Some(session), first, hello, .. } = &mut *opened else {
                    return Err(String::from("nothing is inside plaintext"));
                };
                match session.feed(bytes, &mut |plain| first.extend_from_slice(plain)) {
                    Ok(false) => self.look_inside(spoken, opened),
                    Ok(true) => Err(format!("TLS {}: the peer left before it said anything", offer(hello))),
                    Err(reason) => Err(format!("TLS {}: {reason}", offer(hello))),
                }
            }
            Stage::Over => Err(String::from("the connection is refused already")),
        }
    }

    fn read_hello(
        &mut self,
        chains: &Chains,
        spoken: &[Spoken],
        mut acceptor: Box<Acceptor>,
        seen: usize,
        mut bytes: &[u8],
    ) -> Result<Option<Opened>, String> {
        let seen = seen + bytes.len();
        while !bytes.is_empty() {
            acceptor.read_tls(&mut bytes).map_err(|error| error.to_string())?;
            match acceptor.accept() {
                Ok(None) if seen > MAX_HELLO => return Err(String::from("a ClientHello without end")),
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let said = accepted.client_hello();
                    let hello = Hello {
                        tls: true,
                        protocols: said.alpn().map(|all| all.map(<[u8]>::to_vec).collect()).unwrap_or_default(),
                        server_name: said.server_name().map(str::to_owned),
                    };
                    let Some(chain) = select(chains, &hello)? else {
                        return Err(format!("TLS {}, which no chain of this port lets in", offer(&hello)));
                    };
                    let Some(tls) = &chain.tls else {
                        return Err(format!("TLS {}, where {} takes plaintext only", offer(&hello), chain.name));
                    };
                    let connection =
                        accepted.into_connection(tls.config(&hello.protocols)).map_err(|(error, mut alert)| {
                            let _ = alert.write_all(&mut self.output); // into memory
                            format!("TLS {}: {error}", offer(&hello))
                        })?;
                    let session = Box::new(Session::server(connection, tls.verifier.clone()));
                    return self.handshake(spoken, session, hello, chain.into(), bytes);
                }
                Err((error, mut alert)) => {
                    let _ = alert.write_all(&mut self.output);
                    return Err(format!("no ClientHello that we understand: {error}"));
                }
            }
        }
        self.stage = Stage::Hello(acceptor, seen);
        Ok(None)
    }

    fn handshake(
        &mut self,
        spoken: &[Spoken],
        mut session: Box<Session>,
        hello: Hello,
        chain: Taken,
        bytes: &[u8],
    ) -> Result<Option<Opened>, String> {
        let mut first = Vec::new();
        let fed = session.feed(bytes, &mut |plain| first.extend_from_slice(plain));
        if fed.is_ok() && !session.handshaking() {
            let opened = Opened { session: Some(session), first, hello, chain, speaks: 0 };
            return self.look_inside(spoken, Box::new(opened));
        }
        while session.wants_write() {
            let _ = session.write_to(&mut self.output);
        }
        match fed {
            Ok(false) => {
                self.stage = Stage::Handshake { session, hello, chain };
                Ok(None)
            }
            Ok(true) => Err(format!("TLS {}: the peer gave up in the handshake", offer(&hello))),
            Err(reason) => Err(format!("TLS {}: {reason}", offer(&hello))),
        }
    }

    /// What was negotiated says what is spoken, or the first bytes do; a port's only protocol is not looked for.
    fn look_inside(&mut self, spoken: &[Spoken], mut opened: Box<Opened>) -> Result<Option<Opened>, String> {
        let Some(session) = &mut opened.session else { return Ok(Some(*opened)) };
        let agreed = session.alpn();
        let agreed = spoken.iter().position(|one| one.alpn.iter().any(|name| name.as_bytes() == agreed));
        let found = match agreed.or((spoken.len() == 1).then_some(0)) {
            Some(speaks) => Found::This(speaks),
            None => detect::first_of(spoken, &opened.first),
        };
        match found {
            Found::This(speaks) => Ok(Some(Opened { speaks, ..*opened })),
            Found::Nobody => Err(format!("TLS {}: {}", offer(&opened.hello), unknown("not ", spoken))),
            Found::NotYet => {
                while session.wants_write() {
                    let _ = session.write_to(&mut self.output); // into memory
                }
                self.stage = Stage::Inside(opened);
                Ok(None)
            }
        }
    }

    /// Where the connection stands, for the log when its time is over.
    pub fn waits_for(&self) -> &'static str {
        match self.stage {
            Stage::Sniffing(_) => "its first bytes",
            Stage::Hello(..) => "the rest of its ClientHello",
            Stage::Handshake { .. } => "the end of its TLS handshake",
            Stage::Inside(_) => "its first bytes inside TLS",
            Stage::Over => "nothing",
        }
    }

    /// Not a byte has come.
    pub fn unheard(&self) -> bool {
        matches!(&self.stage, Stage::Sniffing(seen) if seen.is_empty())
    }

    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    pub fn write_to(&mut self, out: &mut dyn Write) -> io::Result<()> {
        while !self.output.is_empty() {
            let written = out.write(&self.output)?;
            self.output.drain(..written);
        }
        Ok(())
    }
}

fn offer(hello: &Hello) -> String {
    let protocols: Vec<_> = hello.protocols.iter().map(|protocol| String::from_utf8_lossy(protocol)).collect();
    let name = hello.server_name.as_deref().unwrap_or("no name");
    format!("for {name} offering [{}]", protocols.join(", "))
}

fn unknown(neither: &str, spoken: &[Spoken]) -> String {
    let names: Vec<_> = spoken.iter().map(|one| one.name).collect();
    format!("the first bytes are {neither}{}", names.join(" nor "))
}

fn plaintext(chains: &Chains, application: &str, speaks: usize, first: Vec<u8>) -> Result<Option<Opened>, String> {
    let protocols = if application.is_empty() { Vec::new() } else { vec![application.as_bytes().to_vec()] };
    let hello = Hello { tls: false, protocols, server_name: None };
    match select(chains, &hello)? {
        Some(chain) if chain.tls.is_none() => {
            Ok(Some(Opened { session: None, first, hello, chain: chain.into(), speaks }))
        }
        Some(chain) => Err(format!("plaintext, where {} wants TLS", chain.name)),
        None => Err(String::from("plaintext, where no chain of this port lets it in (is it STRICT?)")),
    }
}

fn select<'a>(chains: &'a Chains, hello: &Hello) -> Result<Option<&'a Chain>, String> {
    let chain = chains.select(hello);
    match chain.and_then(|chain| chain.refusal.as_ref().or(chain.lapse.as_ref()).map(|refusal| (chain, refusal))) {
        Some((chain, refusal)) => Err(format!("{} lets nobody in: {refusal}", chain.name)),
        None => Ok(chain),
    }
}
