//! NTLMv2 (MS-NLMP): the three messages, without signing or sealing, which HTTP does not use.

use hmac::{Hmac, KeyInit, Mac};
use md_5::Md5;
use md4::{Digest, Md4};

use super::Credentials;

const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";
/// Unicode, OEM, request target, NTLM, always sign, extended session security, 128, 56.
const FLAGS: u32 = 0x0000_0001
    | 0x0000_0002
    | 0x0000_0004
    | 0x0000_0200
    | 0x0000_8000
    | 0x0008_0000
    | 0x2000_0000
    | 0x8000_0000;
const UNICODE: u32 = 0x0000_0001;
/// The challenge has target information.
const TARGET_INFO: u32 = 0x0080_0000;
/// Largest message that is looked at.
const MESSAGE_MAX: usize = 8 * 1024;
/// Target information that carries the server's own clock.
const AV_EOL: u16 = 0;
const AV_TIMESTAMP: u16 = 7;

/// Why an answer to a challenge cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the proxy's NTLM challenge cannot be read: {0}")]
pub struct NtlmError(&'static str);

/// What makes one answer unlike any other; an argument, so that the published vectors can be tested.
#[derive(Debug, Clone, Copy)]
pub struct Freshness {
    /// Random.
    pub client_challenge: [u8; 8],
    /// 100 ns since 1601, used unless the server names its own time.
    pub file_time: u64,
}

/// The first message: what this side can do.
pub fn negotiate() -> Vec<u8> {
    let mut message = Vec::with_capacity(32);
    message.extend_from_slice(SIGNATURE);
    message.extend_from_slice(&1_u32.to_le_bytes());
    message.extend_from_slice(&FLAGS.to_le_bytes());
    // No domain and no workstation are told before somebody asks who we are.
    message.extend_from_slice(&[0; 16]);
    message
}

/// The third message, to the second one of the proxy.
pub fn authenticate(
    challenge: &[u8],
    credentials: &Credentials,
    fresh: Freshness,
) -> Result<Vec<u8>, NtlmError> {
    let second = Second::read(challenge)?;
    let (user, domain) = account(&credentials.user);
    let key = response_key(user, domain, &credentials.password);
    let file_time = second.file_time.unwrap_or(fresh.file_time);
    let nt = nt_response(&key, &second, fresh.client_challenge, file_time);
    // With the server's time at hand the older response is left out (MS-NLMP 3.1.5.1.2).
    let lm = match second.file_time {
        Some(_) => vec![0; 24],
        None => {
            let mut lm = hmac_md5(&key, &[&second.challenge, &fresh.client_challenge]).to_vec();
            lm.extend_from_slice(&fresh.client_challenge);
            lm
        }
    };
    let flags = second.flags & FLAGS;
    let encode = |text: &str| match flags & UNICODE {
        0 => text.bytes().collect(),
        _ => utf16(text),
    };
    Ok(third(
        &[lm, nt, encode(domain), encode(user), Vec::new(), Vec::new()],
        flags,
    ))
}

/// `DOMAIN\user` is told apart; anything else is a user of the proxy's own domain.
fn account(text: &str) -> (&str, &str) {
    match text.split_once('\\') {
        Some((domain, user)) => (user, domain),
        None => (text, ""),
    }
}

/// What the proxy sent.
#[derive(Debug)]
struct Second {
    challenge: [u8; 8],
    flags: u32,
    target_info: Vec<u8>,
    file_time: Option<u64>,
}

impl Second {
    fn read(message: &[u8]) -> Result<Self, NtlmError> {
        if message.len() > MESSAGE_MAX {
            return Err(NtlmError("it is too long"));
        }
        if message.get(..8) != Some(&SIGNATURE[..]) || u32_at(message, 8) != Some(2) {
            return Err(NtlmError("it is no second message"));
        }
        let flags = u32_at(message, 20).ok_or(NtlmError("it is cut off"))?;
        let challenge = message.get(24..32).and_then(|bytes| bytes.try_into().ok());
        // Without the flag there are no such fields, and other bytes in their place.
        let told = flags & TARGET_INFO != 0;
        let target_info = match (u16_at(message, 40), u32_at(message, 44)) {
            (Some(length), Some(offset)) if told && length > 0 => message
                .get(offset as usize..)
                .and_then(|rest| rest.get(..usize::from(length)))
                .ok_or(NtlmError("its target information lies outside of it"))?
                .to_vec(),
            _ => Vec::new(),
        };
        let file_time = timestamp(&target_info);
        Ok(Second {
            challenge: challenge.ok_or(NtlmError("it is cut off"))?,
            flags,
            target_info,
            file_time,
        })
    }
}

fn timestamp(target_info: &[u8]) -> Option<u64> {
    let mut rest = target_info;
    loop {
        let (id, length) = (u16_at(rest, 0)?, usize::from(u16_at(rest, 2)?));
        let value = rest.get(4..4 + length)?;
        match id {
            AV_EOL => return None,
            AV_TIMESTAMP => return value.try_into().ok().map(u64::from_le_bytes),
            _ => rest = &rest[4 + length..],
        }
    }
}

/// NTOWFv2: the key that the password becomes.
fn response_key(user: &str, domain: &str, password: &str) -> [u8; 16] {
    let hash = Md4::digest(utf16(password));
    hmac_md5(&hash, &[&utf16(&user.to_uppercase()), &utf16(domain)])
}

fn nt_response(key: &[u8; 16], second: &Second, client_challenge: [u8; 8], file_time: u64) -> Vec<u8> {
    let mut blob = vec![1, 1, 0, 0, 0, 0, 0, 0];
    blob.extend_from_slice(&file_time.to_le_bytes());
    blob.extend_from_slice(&client_challenge);
    blob.extend_from_slice(&[0; 4]);
    blob.extend_from_slice(&second.target_info);
    blob.extend_from_slice(&[0; 4]);
    let mut response = hmac_md5(key, &[&second.challenge, &blob]).to_vec();
    response.extend_from_slice(&blob);
    response
}

/// Lays out the third message: six fields, each with length and offset, then their bytes.
fn third(fields: &[Vec<u8>; 6], flags: u32) -> Vec<u8> {
    const HEAD: u32 = 64;
    let mut message = Vec::new();
    message.extend_from_slice(SIGNATURE);
    message.extend_from_slice(&3_u32.to_le_bytes());
    let mut offset = HEAD;
    for field in fields {
        let length = u16::try_from(field.len()).unwrap_or(u16::MAX);
        message.extend_from_slice(&length.to_le_bytes());
        message.extend_from_slice(&length.to_le_bytes());
        message.extend_from_slice(&offset.to_le_bytes());
        offset += u32::from(length);
    }
    message.extend_from_slice(&flags.to_le_bytes());
    fields
        .iter()
        .for_each(|field| message.extend_from_slice(&field[..field.len().min(usize::from(u16::MAX))]));
    message
}

fn hmac_md5(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    // A key of any length is taken.
    let Ok(mut mac) = Hmac::<Md5>::new_from_slice(key) else {
        return [0; 16];
    };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    use super::*;

    fn credentials() -> Credentials {
        Credentials {
            user: "Domain\\User".into(),
            password: Zeroizing::new("Password".into()),
        }
    }

    fn second(target_info: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        message.extend_from_slice(SIGNATURE);
        message.extend_from_slice(&2_u32.to_le_bytes());
        message.extend_from_slice(&[0; 8]);
        message.extend_from_slice(&0xe28a_8233_u32.to_le_bytes());
        message.extend_from_slice(&[0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
        message.extend_from_slice(&[0; 8]);
        message.extend_from_slice(&(target_info.len() as u16).to_le_bytes());
        message.extend_from_slice(&(target_info.len() as u16).to_le_bytes());
        message.extend_from_slice(&48_u32.to_le_bytes());
        message.extend_from_slice(target_info);
        message
    }

    fn pair(id: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = id.to_le_bytes().to_vec();
        bytes.extend_from_slice(&(value.len() as u16).to_le_bytes());
        bytes.extend_from_slice(value);
        bytes
    }

    const FRESH: Freshness = Freshness {
        client_challenge: [0xaa; 8],
        file_time: 0,
    };

    #[test]
    fn the_published_vectors() {
        // MS-NLMP 4.2.4.
        let key = response_key("User", "Domain", "Password");
        assert_eq!(hex::encode(key), "0c868a403bfd7a93a3001ef22ef02e3f");
        let info = [pair(2, &utf16("Domain")), pair(1, &utf16("Server")), pair(0, &[])].concat();
        let message = authenticate(&second(&info), &credentials(), FRESH).unwrap();
        let lm = &message[64..88];
        assert_eq!(
            hex::encode(lm),
            "86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa"
        );
        assert_eq!(hex::encode(&message[88..104]), "68cd0ab851e51c96aabc927bebef6a1c");
    }

    #[test]
    fn a_challenge_without_target_information_is_answered() {
        let whole = second(&[]);
        for length in [32, 40, 48] {
            authenticate(&whole[..length], &credentials(), FRESH).unwrap();
        }
        for length in [0, 8, 12, 24, 31] {
            authenticate(&whole[..length], &credentials(), FRESH).unwrap_err();
        }
    }

    #[test]
    fn the_time_of_the_server_counts() {
        let info = [pair(7, &77_u64.to_le_bytes()), pair(0, &[])].concat();
        let message = authenticate(&second(&info), &credentials(), FRESH).unwrap();
        assert_eq!(&message[64..88], [0; 24]);
        assert_eq!(&message[88 + 24..88 + 32], 77_u64.to_le_bytes());
    }

    proptest! {
        #[test]
        fn no_challenge_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), sound in any::<bool>()) {
            if sound && bytes.len() >= 12 {
                bytes[..8].copy_from_slice(SIGNATURE);
                bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
            }
            let _ = authenticate(&bytes, &credentials(), FRESH);
        }
    }
}
