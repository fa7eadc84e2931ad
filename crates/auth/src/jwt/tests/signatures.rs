//! Which signatures are accepted, and which never are.

use proptest::prelude::*;

use super::*;

/// A member that has all the keys of the tests.
fn member_with_all_keys() -> JwtMember {
    let algorithms = Algorithm::ALL.into_iter().collect();
    let signers = [&HMAC, &RSA, &P256, &P384, &P521, &ED25519];
    let keys: Vec<Value> =
        signers.iter().enumerate().map(|(index, it)| it.jwk(&index.to_string())).collect();
    let set = json!({"keys": keys}).to_string();
    let keys = KeySet::from_jwks(set.as_bytes(), algorithms).unwrap();
    assert_eq!((keys.len(), keys.skipped()), (6, &[][..]));
    member_of(JwtConfig::default(), algorithms, Arc::new(keys))
}

#[test]
fn tokens_of_all_algorithms_are_accepted() {
    let member = member_with_all_keys();
    for algorithm in Algorithm::ALL {
        let good = token(algorithm, &claims("u"));
        assert!(is_allowed(&verdict(&member, &good)), "{algorithm:?}");
        // Another user with the same signature.
        let parts: Vec<&str> = good.split('.').collect();
        let other = Base64UrlUnpadded::encode_string(claims("v").to_string().as_bytes());
        let forged = [parts[0], &other, parts[2]].join(".");
        assert!(is_denied(&verdict(&member, &forged)), "{algorithm:?}");
    }
}

#[test]
fn a_key_is_used_with_its_own_algorithms_only() {
    let member = member_with_all_keys();
    for own in Algorithm::ALL {
        for other in Algorithm::ALL {
            // Signed with the key of one algorithm, and said to be of another one.
            let header = json!({"alg": other.name()});
            let forged = token_with(&header, &claims("u"), |it| signer(own).sign(own, it));
            assert_eq!(is_allowed(&verdict(&member, &forged)), own == other, "{own:?} {other:?}");
        }
    }
}

#[test]
fn a_token_without_signature_is_refused() {
    let member = member_with_all_keys();
    for name in ["none", "None", "NONE", "nOnE", ""] {
        for signature in [Vec::new(), vec![0; 32]] {
            let forged = token_with(&json!({"alg": name}), &claims("u"), |_| signature.clone());
            assert!(is_denied(&verdict(&member, &forged)), "{name}");
        }
    }
    for algorithm in Algorithm::ALL {
        let forged = token_with(&json!({"alg": algorithm.name()}), &claims("u"), |_| Vec::new());
        assert!(is_denied(&verdict(&member, &forged)), "{algorithm:?}");
        let zeros = token_with(&json!({"alg": algorithm.name()}), &claims("u"), |_| vec![0; 64]);
        assert!(is_denied(&verdict(&member, &zeros)), "{algorithm:?}");
    }
}

/// The attack on libraries that take whatever key there is as the secret of an HMAC.
#[test]
fn a_public_key_is_never_a_secret() {
    let algorithms = Algorithm::ALL.into_iter().collect();
    let (pem, der) = (RSA.pem(), RSA.der());
    let keys = KeySet::from_pem(pem.as_bytes(), algorithms).unwrap();
    let member = member_of(JwtConfig::default(), algorithms, Arc::new(keys));
    assert!(is_allowed(&verdict(&member, &token(Algorithm::Rs256, &claims("u")))));
    for secret in [pem.as_bytes(), pem.trim().as_bytes(), &der] {
        let forged = token_with(&json!({"alg": "HS256"}), &claims("u"), |message| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().into()
        });
        assert!(is_denied(&verdict(&member, &forged)));
    }
}

#[test]
fn an_algorithm_that_is_not_allowed_is_refused() {
    let algorithms: AlgorithmSet = [Algorithm::Ps256].into_iter().collect();
    let keys = KeySet::from_pem(RSA.pem().as_bytes(), algorithms).unwrap();
    let member = member_of(JwtConfig::default(), algorithms, Arc::new(keys));
    for algorithm in Algorithm::ALL {
        let verdict = verdict(&member, &token(algorithm, &claims("u")));
        assert_eq!(is_allowed(&verdict), algorithm == Algorithm::Ps256, "{algorithm:?}");
    }
}

/// RFC 7515 appendix A.1 to A.3, and RFC 8037 appendix A.4.
#[test]
fn the_examples_of_the_standards_are_right() {
    const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLm\
                           NvbS9pc19yb290Ijp0cnVlfQ";
    let secret = json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75\
                                            aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"});
    let rsa = json!({"kty": "RSA", "e": "AQAB", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbj\
        i9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32\
        690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg6\
        65xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs\
        91kzk2PAcDTW9gb54h4FRWyuXpoQ"});
    let p256 = json!({"kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    let ed25519 = json!({"kty": "OKP", "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    for (algorithm, jwk, header, payload, signature) in [
        (
            Algorithm::Hs256,
            secret,
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            PAYLOAD,
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        (
            Algorithm::Rs256,
            rsa,
            "eyJhbGciOiJSUzI1NiJ9",
            PAYLOAD,
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_\
             O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIAR\
             NPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvh\
             J1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        (
            Algorithm::Es256,
            p256,
            "eyJhbGciOiJFUzI1NiJ9",
            PAYLOAD,
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXF\
             CgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            Algorithm::EdDsa,
            ed25519,
            "eyJhbGciOiJFZERTQSJ9",
            "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6d\
             WbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ] {
        let key = jwk::key(&jwk, Algorithm::ALL.into_iter().collect()).unwrap();
        let signed = format!("{header}.{payload}");
        let signature = Base64UrlUnpadded::decode_vec(signature).unwrap();
        assert!(key.verify(algorithm, signed.as_bytes(), &signature), "{algorithm:?}");
        assert!(!key.verify(algorithm, &signed.as_bytes()[1..], &signature), "{algorithm:?}");
    }
}

proptest! {
    #[test]
    fn a_token_that_was_changed_is_never_accepted(place: prop::sample::Index, byte: u8) {
        let member = member(JwtConfig::default());
        let mut token = hs256(&claims("u")).into_bytes();
        let place = place.index(token.len());
        prop_assume!(token[place] != byte);
        token[place] = byte;
        prop_assert!(!is_allowed(&member.authenticate(&with_password(&token))));
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes: Vec<u8>, header: String, payload: String, algorithm in 0..13_usize,
    ) {
        let member = member(JwtConfig::default());
        let _ = member.authenticate(&with_password(&bytes));
        let sign = |message: &[u8]| HMAC.sign(Algorithm::Hs256, message);
        let header = json!({"alg": Algorithm::ALL[algorithm].name(), "kid": header});
        let claims: Value = serde_json::from_str(&payload).unwrap_or(Value::String(payload));
        let _ = verdict(&member, &token_with(&header, &claims, sign));
    }
}
