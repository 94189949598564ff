//! The key of a node, and what it signs.

use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use p384::{
    SecretKey,
    ecdsa::{Signature, SigningKey, signature::hazmat::PrehashSigner},
    pkcs8::{DecodePrivateKey, EncodePublicKey, LineEnding},
};
use sha2::{Digest, Sha256};

use crate::{Error, object::ObjectId};

/// A private key on the curve P-384 and the public key to it.
#[derive(Clone)]
pub(crate) struct Key {
    private: SigningKey,
    /// PEM of the `SubjectPublicKeyInfo`.
    public: String,
    fingerprint: String,
}

impl Key {
    /// Reads the private key from a PEM file: SEC1 or PKCS#8, as openssl writes them, or OpenSSH's own, as ssh-keygen does.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Key`].
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let text = fs::read(path).map_err(|source| Error::File { path: path.into(), source })?;
        let text = String::from_utf8_lossy(&text);
        Self::of_pem(&text).map_err(|reason| Error::Key { path: path.into(), reason })
    }

    fn of_pem(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected a private key on the curve P-384, without a passphrase";
        let secret = if let Some(pem) = block(text, "EC PRIVATE KEY") {
            SecretKey::from_sec1_pem(&pem).map_err(|error| format!("{EXPECTED}: {error}"))?
        } else if let Some(pem) = block(text, "PRIVATE KEY") {
            SecretKey::from_pkcs8_pem(&pem).map_err(|error| format!("{EXPECTED}: {error}"))?
        } else if let Some(pem) = block(text, "OPENSSH PRIVATE KEY") {
            of_openssh(&pem).map_err(|reason| format!("{EXPECTED}: {reason}"))?
        } else {
            let found = text.lines().find(|line| line.starts_with("-----BEGIN ")).unwrap_or("no PEM at all");
            return Err(format!("{EXPECTED}, found {found}"));
        };
        let (key, private) = (secret.public_key(), SigningKey::from(secret));
        let public = key.to_public_key_pem(LineEnding::LF).map_err(|error| error.to_string())?;
        let der = key.to_public_key_der().map_err(|error| error.to_string())?;
        Ok(Self { private, public, fingerprint: ObjectId::of(der.as_bytes()).to_string() })
    }

    /// The public key, PEM.
    pub(crate) fn public(&self) -> &str {
        &self.public
    }

    /// SHA-256 of the public key in DER.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// ECDSA over the SHA-256 of these bytes, DER, base64. (That of SHA-384 would be usual for this curve.)
    pub(crate) fn sign(&self, bytes: &[u8]) -> String {
        let signature: Result<Signature, _> = self.private.sign_prehash(&Sha256::digest(bytes));
        let signature = signature.expect("a digest of 32 bytes is long enough for the curve");
        BASE64.encode(signature.to_der().as_bytes())
    }
}

/// The block of PEM of a label, which others may stand before (`EC PARAMETERS`).
fn block(text: &str, label: &str) -> Option<String> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let lines: Vec<&str> = text.lines().map(str::trim).skip_while(|line| *line != begin).collect();
    let last = lines.iter().position(|line| *line == end)?;
    Some(lines[..=last].join("\n") + "\n")
}

/// The key of an `openssh-key-v1` file (PROTOCOL.key of OpenSSH), which has all lengths before what they are of.
fn of_openssh(pem: &str) -> Result<SecretKey, String> {
    let lines: Vec<&str> = pem.lines().collect();
    let bytes = BASE64.decode(lines[1..lines.len() - 1].concat()).map_err(|error| error.to_string())?;
    let mut rest = bytes.strip_prefix(b"openssh-key-v1\0").ok_or("not of the format openssh-key-v1")?;
    let cipher = field(&mut rest)?;
    if cipher != b"none" {
        let cipher = String::from_utf8_lossy(cipher);
        return Err(format!("encrypted by {cipher}; `ssh-keygen -p -N '' -f FILE` takes the passphrase off"));
    }
    for _ in 0..2 {
        field(&mut rest)?;
    }
    let num = number(&mut rest)?;
    if num != 1 {
        return Err(format!("{num} keys instead of one"));
    }
    field(&mut rest)?;
    let mut private = field(&mut rest)?;
    if number(&mut private)? != number(&mut private)? {
        return Err("damaged".into());
    }
    let kind = field(&mut private)?;
    if kind != b"ecdsa-sha2-nistp384" {
        let kind = String::from_utf8_lossy(kind).into_owned();
        return Err(format!("of the kind {kind}; `ssh-keygen -t ecdsa -b 384` makes the right one"));
    }
    for _ in 0..2 {
        field(&mut private)?;
    }
    let scalar = field(&mut private)?;
    // An integer of any length: a zero byte before a set uppermost bit, none where it starts with zeros.
    let scalar = &scalar[scalar.iter().take_while(|&&byte| byte == 0).count()..];
    let mut whole = [0; 48];
    let start = whole.len().checked_sub(scalar.len()).ok_or("damaged")?;
    whole[start..].copy_from_slice(scalar);
    SecretKey::from_slice(&whole).map_err(|error| error.to_string())
}

fn number(bytes: &mut &[u8]) -> Result<u32, String> {
    let (number, rest) = bytes.split_first_chunk().ok_or("cut short")?;
    *bytes = rest;
    Ok(u32::from_be_bytes(*number))
}

fn field<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let length = number(bytes)? as usize;
    let (field, rest) = bytes.split_at_checked(length).ok_or("cut short")?;
    *bytes = rest;
    Ok(field)
}

#[cfg(test)]
mod tests {
    use p384::ecdsa::{VerifyingKey, signature::hazmat::PrehashVerifier};

    use super::*;

    /// Of one key, made by `openssl ecparam -genkey -name secp384r1`, `openssl pkcs8 -topk8 -nocrypt` and `ssh-keygen -p`.
    const SEC1: &str = include_str!("../tests/keys/sec1.pem");
    const PKCS8: &str = include_str!("../tests/keys/pkcs8.pem");
    const OPENSSH: &str = include_str!("../tests/keys/openssh.pem");
    /// By `openssl pkey -pubout`.
    const PUBLIC: &str = include_str!("../tests/keys/public.pem");

    #[test]
    fn the_three_forms_are_one_key() {
        for pem in [SEC1, PKCS8, OPENSSH] {
            let key = Key::of_pem(pem).unwrap();
            assert_eq!(key.public(), PUBLIC);
            let signature = Signature::from_der(&BASE64.decode(key.sign(b"now")).unwrap()).unwrap();
            let verifying = VerifyingKey::from(&key.private);
            verifying.verify_prehash(&Sha256::digest(b"now"), &signature).unwrap();
            assert!(verifying.verify_prehash(&Sha256::digest(b"then"), &signature).is_err());
        }
    }

    #[test]
    fn other_files_are_refused_with_what_they_are() {
        let reason = |pem: &str| Key::of_pem(pem).err().unwrap();
        assert!(reason(PUBLIC).contains("found -----BEGIN PUBLIC KEY-----"), "{}", reason(PUBLIC));
        assert!(reason("").contains("no PEM at all"));
        let p256 = reason(include_str!("../tests/keys/p256.pem"));
        assert!(p256.contains("P-384"), "{p256}");
        let locked = reason(include_str!("../tests/keys/locked.pem"));
        assert!(locked.contains("encrypted by aes256-ctr") && locked.contains("ssh-keygen -p"), "{locked}");
        let lines: Vec<&str> = OPENSSH.lines().collect();
        for num in 0..lines.len() - 2 {
            let cut = [&lines[..=num], &lines[lines.len() - 1..]].concat().join("\n");
            assert!(Key::of_pem(&cut).is_err(), "{num} lines");
        }
    }
}
