//! The names and numbers of gRPC's three encodings (grpc/doc/compression.md).

/// What this side understands, as `grpc-accept-encoding` says it.
pub const ACCEPTED: &str = "identity, deflate, gzip";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Encoding {
    #[default]
    Identity = 0,
    /// The zlib format (RFC 1950), in spite of the name.
    Deflate = 1,
    Gzip = 2,
}

impl Encoding {
    pub fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"identity" => Some(Self::Identity),
            b"deflate" => Some(Self::Deflate),
            b"gzip" => Some(Self::Gzip),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Deflate => "deflate",
            Self::Gzip => "gzip",
        }
    }

    /// The number that gRPC gives it in APIs and channel arguments (grpc/impl/compression_types.h).
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Identity),
            1 => Some(Self::Deflate),
            2 => Some(Self::Gzip),
            _ => None,
        }
    }
}
