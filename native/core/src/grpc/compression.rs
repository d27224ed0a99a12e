//! How messages are compressed, by each of gRPC's encodings.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{GzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};

use super::encoding::Encoding;
use super::malformed::Malformed;

impl Encoding {
    /// None where it would not become smaller: it is sent as it is then, as the protocol allows.
    pub fn compress(self, payload: &[u8]) -> Option<Vec<u8>> {
        let out = Vec::with_capacity(payload.len() / 2 + 32);
        let compressed = match self {
            Self::Identity => return None,
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(out, Compression::default());
                encoder.write_all(payload).and_then(|()| encoder.finish())
            }
            Self::Gzip => {
                let mut encoder = GzEncoder::new(out, Compression::default());
                encoder.write_all(payload).and_then(|()| encoder.finish())
            }
        };
        compressed.ok().filter(|compressed| compressed.len() < payload.len())
    }

    /// What was compressed; never makes more than `limit` bytes of it.
    pub fn decompress(self, message: &[u8], limit: usize) -> Result<Bytes, Malformed> {
        let mut out = Vec::new();
        let bound = limit as u64 + 1;
        let read = match self {
            Self::Identity => return Err(Malformed::NotEncoded),
            Self::Deflate => ZlibDecoder::new(message).take(bound).read_to_end(&mut out),
            Self::Gzip => GzDecoder::new(message).take(bound).read_to_end(&mut out),
        };
        match read {
            Ok(length) if length > limit => Err(Malformed::TooLarge { length, limit }),
            Ok(_) => Ok(out.into()),
            Err(_) => Err(Malformed::Undecodable(self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Encoding; 2] = [Encoding::Deflate, Encoding::Gzip];

    #[test]
    fn messages_survive() {
        for encoding in BOTH {
            for payload in [vec![b'a'; 100], vec![0; 1 << 20], (0..10_000u32).flat_map(u32::to_be_bytes).collect()] {
                let compressed = encoding.compress(&payload).unwrap();
                assert!(compressed.len() < payload.len());
                assert_eq!(encoding.decompress(&compressed, payload.len()).unwrap(), payload);
            }
        }
    }

    #[test]
    fn what_does_not_shrink_is_left_alone() {
        for payload in [&b""[..], b"a", b"qwertyuiop"] {
            assert!(BOTH.iter().all(|encoding| encoding.compress(payload).is_none()));
        }
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        for encoding in BOTH {
            let bomb = encoding.compress(&vec![0; 64 << 20]).unwrap();
            assert!(matches!(encoding.decompress(&bomb, 1000), Err(Malformed::TooLarge { length: 1001, limit: 1000 })));
        }
    }

    #[test]
    fn rubbish_and_cut_off_data_are_errors() {
        for encoding in BOTH {
            let whole = encoding.compress(&[7; 1000]).unwrap();
            for bad in [&b"rubbish"[..], b"", &whole[..whole.len() - 5]] {
                assert_eq!(encoding.decompress(bad, 10_000), Err(Malformed::Undecodable(encoding)));
            }
        }
        assert_eq!(Encoding::Identity.decompress(b"x", 10), Err(Malformed::NotEncoded));
    }
}
