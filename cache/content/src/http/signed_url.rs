//! URLs that are credentials: those whose query or path holds a signature or a token (T-36).
//!
//! Whoever knows such a URL has the access that it grants, so content under it is private unless a digest names it.

use crate::ResourceUrl;

/// The mark by which a URL was recognised as a credential; a constant of ours, so it may be logged.
#[must_use]
pub fn credential_mark(url: &ResourceUrl) -> Option<&'static str> {
    in_query(url).or_else(|| in_path(url))
}

/// Whether the path, not only the query, holds a token: it must then not be shown either.
pub(crate) fn has_credential_path(url: &ResourceUrl) -> bool {
    in_path(url).is_some()
}

fn in_query(url: &ResourceUrl) -> Option<&'static str> {
    for (name, value) in url.as_url().query_pairs() {
        let name = name.to_ascii_lowercase();
        if let Some(mark) = CREDENTIAL_PARAMETERS.iter().find(|mark| **mark == name) {
            return Some(mark);
        }
        if let Some(mark) = CREDENTIAL_SUFFIXES.iter().find(|suffix| name.ends_with(**suffix)) {
            return Some(mark);
        }
        if looks_like_jwt(&value) {
            return Some("JSON Web Token");
        }
    }
    None
}

/// Three base64url parts, of which the first starts as `{"` does.
fn looks_like_jwt(value: &str) -> bool {
    value.starts_with("eyJ") && value.split('.').count() == 3
}

fn in_path(url: &ResourceUrl) -> Option<&'static str> {
    let path = url.as_url().path().to_ascii_lowercase();
    if let Some(mark) = CREDENTIAL_PATH_PARTS.iter().find(|part| path.contains(**part)) {
        return Some(mark);
    }
    // Cloudinary: `/s--AbC123--/`.
    path.split('/')
        .any(|part| part.starts_with("s--") && part.ends_with("--") && part.len() > 5)
        .then_some("/s--...--/")
}

/// Query parameters, in lower case, that hold a signature, a token, or prove that one is there.
const CREDENTIAL_PARAMETERS: &[&str] = &[
    // S3 and its many imitators: signature versions 4 and 2.
    "x-amz-signature",
    "x-amz-credential",
    "x-amz-security-token",
    "awsaccesskeyid",
    "signature",
    // Google Cloud Storage, Google Media CDN.
    "x-goog-signature",
    "x-goog-credential",
    "googleaccessid",
    "edge-cache-token",
    // Azure shared access signature; SharePoint; OneDrive.
    "sig",
    "tempauth",
    "authkey",
    // CloudFront.
    "key-pair-id",
    "policy",
    // Alibaba, Tencent, Huawei, Volcano Engine, Qiniu.
    "x-oss-signature",
    "x-oss-credential",
    "ossaccesskeyid",
    "q-signature",
    "accesskeyid",
    "x-tos-signature",
    "x-obs-signature",
    "e_token",
    // Akamai, Fastly, Cloudflare, Bunny, CDN77, nginx secure_link, KeyCDN, Verizon.
    "hdnts",
    "hdnea",
    "hdntl",
    "__gda__",
    "__token__",
    "verify",
    "md5",
    "secure",
    "hmac",
    "ec_token",
    // OpenStack Swift temporary URLs.
    "temp_url_sig",
    // Backblaze B2, Baidu.
    "authorization",
    // Dropbox, Google Drive, Discord, Facebook.
    "rlkey",
    "resourcekey",
    "hm",
    "oh",
    // Forges.
    "private_token",
    "job_token",
    "rss_token",
    "feed_token",
    // By many hands.
    "token",
    "jwt",
    "auth",
    "api_key",
    "apikey",
    "api-key",
    "access_key",
    "secret",
    "client_secret",
    "password",
    "passwd",
    "pwd",
    "session",
    "sessionid",
    "session_id",
    "sid",
    "jsessionid",
    "phpsessid",
    "ticket",
    "expires",
];

/// Endings of parameter names that tell the same.
const CREDENTIAL_SUFFIXES: [&str; 5] = ["_token", "-token", "-signature", "_signature", "_secret"];

/// Parts of paths that hold a token.
const CREDENTIAL_PATH_PARTS: [&str; 5] = ["hmac=", "~acl=", "edge-cache-token=", ";jsessionid=", "signature="];

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(url: &str) -> Option<&'static str> {
        credential_mark(&ResourceUrl::parse(url).expect("parses"))
    }

    #[test]
    fn t36_real_shapes_of_signed_urls_are_recognised() {
        let shapes = [
            "https://b.s3.amazonaws.com/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A&X-Amz-Signature=SECRET",
            "https://b.s3.amazonaws.com/k?AWSAccessKeyId=A&Expires=1&Signature=SECRET",
            "https://b.s3.amazonaws.com/k?x-amz-security-token=SECRET",
            "https://storage.googleapis.com/b/o?X-Goog-Algorithm=G&X-Goog-Signature=SECRET",
            "https://storage.googleapis.com/b/o?GoogleAccessId=a&Expires=1&Signature=SECRET",
            "https://a.blob.core.windows.net/c/b?sv=2020&se=2030&sr=b&sp=r&sig=SECRET",
            "https://t.sharepoint.com/_layouts/15/download.aspx?UniqueId=1&tempauth=SECRET",
            "https://onedrive.live.com/download?cid=1&resid=1&authkey=SECRET",
            "https://d1.cloudfront.net/f?Policy=P&Signature=SECRET&Key-Pair-Id=K",
            "https://d1.cloudfront.net/f?Expires=1&Key-Pair-Id=K",
            "https://b.oss-cn.aliyuncs.com/f?OSSAccessKeyId=A&Expires=1&Signature=SECRET",
            "https://b.oss-cn.aliyuncs.com/f?x-oss-signature-version=V4&x-oss-signature=SECRET",
            "https://b.cos.ap.myqcloud.com/f?q-sign-algorithm=sha1&q-signature=SECRET",
            "https://b.obs.cn.myhuaweicloud.com/f?AccessKeyId=A&Signature=SECRET",
            "https://cdn.akamai.example/f?hdnts=exp=1~acl=/*~hmac=SECRET",
            "https://cdn.akamai.example/f?__gda__=1_SECRET",
            "https://cdn.akamai.example/exp=1~acl=/*~hmac=SECRET/f",
            "https://cdn.fastly.example/f?token=1_SECRET",
            "https://cdn.cloudflare.example/f?verify=1-SECRET",
            "https://cdn.bunny.example/f?token=SECRET&expires=1",
            "https://nginx.example/f?md5=SECRET&expires=1",
            "https://swift.example/v1/a/c/o?temp_url_sig=SECRET&temp_url_expires=1",
            "https://f002.backblazeb2.com/file/b/f?Authorization=SECRET",
            "https://www.dropbox.com/scl/fi/x/f?rlkey=SECRET&dl=1",
            "https://drive.google.com/uc?id=1&resourcekey=SECRET",
            "https://cdn.discordapp.com/attachments/1/2/f?ex=1&is=1&hm=SECRET",
            "https://raw.githubusercontent.com/o/r/main/f?token=SECRET",
            "https://gitlab.example/api/v4/projects/1/f?private_token=SECRET",
            "https://res.cloudinary.com/demo/image/upload/s--SECRET--/f.jpg",
            "https://media.example/Edge-Cache-Token=URLPrefix=x~Signature=SECRET/f",
            "https://app.example/f?access_token=SECRET",
            "https://app.example/f?jwt=eyJhbGciOi.eyJzdWIi.SECRET",
            "https://app.example/f?t=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.SECRET",
            "https://app.example/f;jsessionid=SECRET",
            "https://app.example/f?API_KEY=SECRET",
            "https://app.example/f?%73ig=SECRET",
        ];
        for shape in shapes {
            let found = mark(shape).unwrap_or_else(|| panic!("not recognised: {shape}"));
            assert!(!found.contains("SECRET"));
        }
    }

    #[test]
    fn plain_urls_are_not_taken_for_credentials() {
        for url in [
            "https://deb.debian.org/debian/pool/main/b/bash/bash_5.2.15-2+b2_amd64.deb",
            "https://h/f?version=1.2&arch=amd64",
            "https://h/f?q=signature",
            "https://h/tokens/signatures.txt",
            "https://h/f?design=1&signal=2",
            "https://h/s----/f",
        ] {
            assert_eq!(mark(url), None, "{url}");
        }
    }
}
