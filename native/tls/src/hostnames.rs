//! Whether a certificate is for a host, as gRPC decides it (grpc/src/core/credentials/transport/tls:
//! `HostNameCertificateVerifier`): alternative names, or else the common name, which webpki never looks at.

use std::net::IpAddr;

use crate::certificate::Certificate;

/// Is it for this name or address? Where there is no DNS name the common name counts, if `common_names` do.
pub fn is_for(certificate: &Certificate<'_>, host: &str, common_names: bool) -> bool {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let host = host.split_once('%').map_or(host, |(host, _)| host); // the zone of an IPv6 address
    let names = certificate.dns_names();
    if names.iter().any(|name| fits(name, host)) {
        return true;
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        let bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        if certificate.addresses().contains(&bytes.as_slice()) {
            return true;
        }
    }
    common_names && names.is_empty() && certificate.common_name().is_some_and(|name| fits(name, host))
}

/// `*.` stands for one label, and for nothing less or else. A dot at the end, and case, say nothing.
fn fits(name: &[u8], host: &str) -> bool {
    let Ok(name) = std::str::from_utf8(name) else { return false };
    let name = name.strip_suffix('.').unwrap_or(name);
    let host = host.strip_suffix('.').unwrap_or(host);
    if name.is_empty() || name.starts_with('.') || host.is_empty() || host.starts_with('.') {
        return false;
    }
    if !name.contains('*') {
        return name.eq_ignore_ascii_case(host);
    }
    let (Some(suffix), Some((label, rest))) = (name.strip_prefix("*."), host.split_once('.')) else { return false };
    !label.is_empty() && !suffix.is_empty() && !suffix.contains('*') && suffix.eq_ignore_ascii_case(rest)
}

/// For sentences: a few of the names that a host could have.
pub fn shown(certificate: &Certificate<'_>, most: usize) -> String {
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let mut names: Vec<String> = certificate.dns_names().into_iter().take(most).map(text).collect();
    for address in certificate.addresses().into_iter().take(most - names.len()) {
        if let Ok(four) = <[u8; 4]>::try_from(address) {
            names.push(IpAddr::from(four).to_string());
        } else if let Ok(sixteen) = <[u8; 16]>::try_from(address) {
            names.push(IpAddr::from(sixteen).to_string());
        }
    }
    if names.is_empty() {
        names.extend(certificate.common_name().map(text));
    }
    if names.is_empty() { String::from("nobody (no names)") } else { names.join(", ") }
}
