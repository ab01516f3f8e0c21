//! Files below a folder, at `/static/`: nothing outside it, nothing that only links there.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};

use crate::{Refusal, Request, Response};

/// Where the files are, in a request's path.
pub(super) const PREFIX: &str = "/static/";

/// What `/static/` itself leads to.
const INDEX: &str = "index.html";

/// A folder whose files are served.
#[derive(Debug)]
pub struct Files {
    folder: OwnedFd,
    /// Whether the kernel resolves a path beneath a folder by itself; Linux does since 5.6, unless a filter forbids it.
    has_beneath: bool,
}

impl Files {
    /// Opens the folder; it may be a link, and what takes its name later is not served.
    ///
    /// # Errors
    /// Where it is not there, no folder, or not to be read.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let folder = OwnedFd::from(File::open(folder)?);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(&folder, ".", flags, Mode::empty())?;
        let has_beneath = beneath(folder.as_fd(), ".").is_ok();
        Ok(Self { folder, has_beneath })
    }

    /// Answers a GET or HEAD for a path below [`PREFIX`].
    pub(super) fn serve(&self, request: &Request<'_>, path: &str, bytes_max: usize) -> Response {
        let path = if path.is_empty() { INDEX } else { path };
        match self.find(path) {
            Some(file) => answer(request, path, file, bytes_max)
                .unwrap_or_else(|_| Response::error(500, "the file cannot be read")),
            None => Refusal::NotFound.into(),
        }
    }

    /// Opens a regular file by its path, none of whose parts is a link or has a name that begins with a dot.
    fn find(&self, path: &str) -> Option<File> {
        if path.split('/').any(|part| part.is_empty() || part.starts_with('.') || part.contains('\0')) {
            return None;
        }
        let found = match self.has_beneath {
            true => beneath(self.folder.as_fd(), path),
            false => step_by_step(self.folder.as_fd(), path),
        };
        let file = File::from(found.ok()?);
        file.metadata().ok().filter(|meta| meta.is_file()).map(|_| file)
    }
}

/// Not blocking, since opening a pipe would wait for its other end.
const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

fn beneath(folder: BorrowedFd<'_>, path: &str) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(folder, path, FLAGS, Mode::empty(), resolve) {
            // Something was renamed meanwhile, and the kernel is not sure where it stands.
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            other => return other,
        }
    }
}

/// The same without the kernel's help: no part is a link and none leads up, so each is beneath the one before.
fn step_by_step(folder: BorrowedFd<'_>, path: &str) -> rustix::io::Result<OwnedFd> {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut at: Option<OwnedFd> = None;
    for part in folders.split('/').filter(|part| !part.is_empty()) {
        let here = at.as_ref().map_or(folder, |fd| fd.as_fd());
        at = Some(openat(here, part, FLAGS | OFlags::NOFOLLOW | OFlags::DIRECTORY, Mode::empty())?);
    }
    let here = at.as_ref().map_or(folder, |fd| fd.as_fd());
    openat(here, name, FLAGS | OFlags::NOFOLLOW, Mode::empty())
}

fn answer(request: &Request<'_>, path: &str, file: File, bytes_max: usize) -> io::Result<Response> {
    let meta = file.metadata()?;
    if meta.len() > bytes_max as u64 {
        return Ok(too_long());
    }
    // The time of the last change, not that of the contents: a tool that unpacks files sets the latter as it likes.
    let tag = format!("W/\"{:x}-{:x}.{:x}\"", meta.len(), meta.ctime(), meta.ctime_nsec());
    let is_known = is_matched(request, &tag);
    let response = Response::new(if is_known { 304 } else { 200 })
        .header("etag", tag)
        .header("cache-control", "no-cache")
        .header("x-content-type-options", "nosniff");
    if is_known {
        return Ok(response);
    }
    let mut body = Vec::with_capacity(meta.len() as usize);
    file.take(bytes_max as u64 + 1).read_to_end(&mut body)?;
    // It has grown since.
    if body.len() > bytes_max {
        return Ok(too_long());
    }
    Ok(response.header("content-type", content_type(path)).body(body))
}

fn too_long() -> Response {
    Response::error(404, "the file is longer than static_bytes_max")
}

/// RFC 9110 §13.1.2: whether the client says that it has this version; the comparison is the weak one.
fn is_matched(request: &Request<'_>, tag: &str) -> bool {
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    request.header_list("if-none-match").any(|known| known == "*" || opaque(known) == opaque(tag))
}

/// What a file is, by the end of its name; a browser is told not to guess otherwise.
fn content_type(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    match extension.as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        "md" => "text/markdown; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "xml" => "application/xml",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "wasm" => "application/wasm",
        "pdf" => "application/pdf",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "zip" => "application/zip",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::Limits;

    /// A folder with files, and with everything that could lead out of it.
    fn folder() -> tempfile::TempDir {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("static");
        fs::create_dir_all(folder.join("js/deep")).unwrap();
        fs::write(outer.path().join("secret.txt"), "secret").unwrap();
        for name in ["index.html", "js/app.js", "js/deep/a.css", "房间.txt", ".hidden", "PHOTO.JPG", "none"]
        {
            fs::write(folder.join(name), name).unwrap();
        }
        symlink("../secret.txt", folder.join("link.txt")).unwrap();
        symlink("index.html", folder.join("inner.html")).unwrap();
        symlink("..", folder.join("up")).unwrap();
        symlink("/", folder.join("js/root")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            folder.join("pipe"),
            rustix::fs::FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .unwrap();
        outer
    }

    fn serve(files: &Files, path: &str, headers: &str) -> (u16, String) {
        let head = format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        let limits = Limits::default();
        let request = Request::parse(head.as_bytes(), &limits).unwrap();
        let response = files.serve(&request, path, 100);
        let mut out = Vec::new();
        response.write(&mut out, false, false);
        (response.status(), String::from_utf8(out).unwrap())
    }

    #[test]
    fn row_60_files_are_found_beneath_the_folder_and_nothing_else_is_with_and_without_the_kernels_help() {
        let outer = folder();
        let with = Files::open(&outer.path().join("static")).unwrap();
        let without = Files { folder: with.folder.try_clone().unwrap(), has_beneath: false };
        let found = [
            ("", "text/html; charset=utf-8", "index.html"),
            ("index.html", "text/html; charset=utf-8", "index.html"),
            ("js/app.js", "text/javascript; charset=utf-8", "js/app.js"),
            ("js/deep/a.css", "text/css; charset=utf-8", "js/deep/a.css"),
            ("房间.txt", "text/plain; charset=utf-8", "房间.txt"),
            ("PHOTO.JPG", "image/jpeg", "PHOTO.JPG"),
            ("none", "application/octet-stream", "none"),
        ];
        let hidden = [
            "link.txt",
            "inner.html",
            "up/secret.txt",
            "js/root/etc/passwd",
            "pipe",
            "js",
            "js/",
            "js/deep",
            ".hidden",
            "../secret.txt",
            "js/../index.html",
            "./index.html",
            "/etc/passwd",
            "//etc/passwd",
            "js//app.js",
            "index.html/",
            "index.html/x",
            "nothing",
            "a\0b",
        ];
        for files in [&with, &without] {
            for (path, content_type, body) in found {
                let (status, answer) = serve(files, path, "");
                assert_eq!(status, 200, "{path}");
                assert!(answer.contains(&format!("content-type: {content_type}\r\n")), "{path}: {answer}");
                assert!(answer.contains("x-content-type-options: nosniff\r\n"), "{path}: {answer}");
                assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{path}: {answer}");
            }
            for path in hidden {
                assert_eq!(serve(files, path, "").0, 404, "{path}");
            }
        }
        assert!(with.has_beneath || cfg!(not(target_os = "linux")), "this kernel has openat2");
    }

    #[test]
    fn row_60_a_client_that_has_a_file_is_not_sent_it_again_until_it_changes() {
        let outer = folder();
        let files = Files::open(&outer.path().join("static")).unwrap();
        let (_, first) = serve(&files, "js/app.js", "");
        let tag = first.split("etag: ").nth(1).unwrap().split("\r\n").next().unwrap().to_owned();
        for known in [tag.clone(), "*".into(), format!("\"x\", {tag}"), tag.replace("W/", "")] {
            let (status, answer) = serve(&files, "js/app.js", &format!("If-None-Match: {known}\r\n"));
            assert_eq!(status, 304, "{known}");
            assert!(answer.contains(&format!("etag: {tag}\r\n")) && answer.ends_with("\r\n\r\n"), "{answer}");
            assert!(!answer.contains("content-length"), "{answer}");
        }
        assert_eq!(serve(&files, "js/app.js", "If-None-Match: \"x\"\r\n").0, 200);
        fs::write(outer.path().join("static/js/app.js"), "something else").unwrap();
        let (status, answer) = serve(&files, "js/app.js", &format!("If-None-Match: {tag}\r\n"));
        assert!(status == 200 && answer.ends_with("something else"), "{answer}");
    }

    #[test]
    fn a_file_over_the_bound_is_not_served_and_a_folder_that_is_none_is_an_error() {
        let outer = folder();
        let files = Files::open(&outer.path().join("static")).unwrap();
        for (len, want) in [(100, 200), (101, 404)] {
            fs::write(outer.path().join("static/long"), vec![b'x'; len]).unwrap();
            assert_eq!(serve(&files, "long", "").0, want, "{len}");
        }
        assert!(Files::open(&outer.path().join("secret.txt")).is_err());
        assert!(Files::open(&outer.path().join("nowhere")).is_err());
    }
}
