//! What the tests of the shell scripts need: a mirror on the loopback address, and a PATH to order.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

pub use classroom::repository;

/// Writes an executable shell script.
pub fn script(path: &Path, text: &str) {
    classroom::executable(path, &format!("#!/bin/sh\n{text}\n")).unwrap();
}

/// Makes `folder` a PATH with everything that the machine has, except the commands named.
pub fn path_without(folder: &Path, missing: &[&str]) {
    fs::create_dir_all(folder).unwrap();
    for bin in ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"] {
        for entry in fs::read_dir(bin).into_iter().flatten().flatten() {
            if !missing.iter().any(|name| OsStr::new(name) == entry.file_name()) {
                // The first folder that has a command wins, as in a PATH.
                _ = symlink(entry.path(), folder.join(entry.file_name()));
            }
        }
    }
}

/// How a [`Mirror`] answers.
pub enum Answer {
    /// With this content.
    Content(Vec<u8>),
    /// With the first half of this content, and then it hangs up.
    HalfOf(Vec<u8>),
    /// With the first half; the rest comes after [`Mirror::release`].
    HalfThenWait(Vec<u8>),
    /// With "404 Not Found".
    NotFound,
}

/// A web server on the loopback address, for as long as the value lives.
pub struct Mirror {
    /// To be used as `ALPINE_MIRROR`.
    pub url: String,
    requests: Arc<Mutex<Vec<String>>>,
    half_sent: mpsc::Receiver<()>,
    released: Option<mpsc::Sender<()>>,
}

impl Mirror {
    pub fn new(answer: Answer) -> Mirror {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/alpine", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (half_sender, half_sent) = mpsc::channel();
        let (released, release) = mpsc::channel();
        let seen = Arc::clone(&requests);
        // The thread ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // An error here means that the client went away: some tests make it.
                _ = serve(stream, &answer, &seen, &half_sender, &release);
            }
        });
        Mirror { url, requests, half_sent, released: Some(released) }
    }

    /// The paths that were asked for until now.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits until the first half of the content is sent.
    ///
    /// # Panics
    /// If nobody asks for it within [`classroom::session::DEADLINE`].
    pub fn wait_for_half(&self) {
        self.half_sent
            .recv_timeout(classroom::session::DEADLINE)
            .expect("nobody asks the mirror for the tarball");
    }

    /// Lets the second half go.
    pub fn release(&mut self) {
        self.released = None;
    }
}

fn serve(
    mut stream: TcpStream,
    answer: &Answer,
    requests: &Mutex<Vec<String>>,
    half_sent: &mpsc::Sender<()>,
    release: &mpsc::Receiver<()>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
        request.push(byte[0]);
    }
    let request = String::from_utf8_lossy(&request);
    let path = request.split(' ').nth(1).unwrap_or("").to_owned();
    requests.lock().unwrap().push(path);
    let content = match answer {
        Answer::NotFound => {
            return stream.write_all(b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        }
        Answer::Content(content) | Answer::HalfOf(content) | Answer::HalfThenWait(content) => {
            content
        }
    };
    write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", content.len())?;
    let (first, second) = content.split_at(content.len() / 2);
    stream.write_all(first)?;
    stream.flush()?;
    match answer {
        Answer::HalfOf(_) => return Ok(()),
        Answer::HalfThenWait(_) => {
            _ = half_sent.send(());
            _ = release.recv(); // an error as well, once it is released for good
        }
        _ => {}
    }
    stream.write_all(second)
}
