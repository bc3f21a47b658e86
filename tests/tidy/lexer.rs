//! Splits Rust source into tokens, so that rules see code and never what only looks like it in a
//! comment or a string.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A name or a keyword; `r#` is taken off.
    Word,
    /// A string of any sort; the text is what stands between the quotes, escapes as written.
    Text,
    /// A character, a number or a lifetime: no rule looks at them.
    Other,
    /// One character of punctuation.
    Mark,
}

/// A token and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    pub text: String,
    pub line: usize,
}

impl Token {
    pub fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Mark) && self.text == text
    }

    pub fn is_word(&self) -> bool {
        self.kind == Kind::Word
    }
}

/// Splits `source`. Anything that isn't Rust gives some tokens, never a panic.
pub fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        chars: source.chars().collect(),
        at: 0,
        line: 1,
        out: Vec::new(),
    };
    while lexer.at < lexer.chars.len() {
        lexer.step();
    }
    lexer.out
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    out: Vec<Token>,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    /// Goes on by one character and counts lines.
    fn bump(&mut self) -> char {
        let c = self.peek(0);
        self.line += usize::from(c == '\n');
        self.at += 1;
        c
    }

    fn emit(&mut self, kind: Kind, text: String, line: usize) {
        self.out.push(Token { kind, text, line });
    }

    fn step(&mut self) {
        let (c, next) = (self.peek(0), self.peek(1));
        match c {
            '/' if next == '/' => self.line_comment(),
            '/' if next == '*' => self.block_comment(),
            '"' => self.quoted(),
            '\'' => self.tick(),
            _ if c.is_whitespace() => {
                self.bump();
            }
            _ if is_word_start(c) => self.word(),
            _ if c.is_ascii_digit() => self.number(),
            _ => {
                let line = self.line;
                self.bump();
                self.emit(Kind::Mark, c.to_string(), line);
            }
        }
    }

    fn line_comment(&mut self) {
        while self.at < self.chars.len() && self.peek(0) != '\n' {
            self.bump();
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.chars.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.bump();
                    continue;
                }
            }
            self.bump();
            self.bump();
            if depth == 0 {
                return;
            }
        }
    }

    fn quoted(&mut self) {
        let line = self.line;
        self.bump();
        let mut text = String::new();
        while self.at < self.chars.len() && self.peek(0) != '"' {
            if self.peek(0) == '\\' {
                text.push(self.bump());
            }
            text.push(self.bump());
        }
        self.bump();
        self.emit(Kind::Text, text, line);
    }

    /// A raw string, from its first `#` or quote on.
    fn raw(&mut self, line: usize) {
        let mut hashes = 0;
        while self.peek(0) == '#' {
            self.bump();
            hashes += 1;
        }
        self.bump();
        let mut text = String::new();
        while self.at < self.chars.len() {
            let closes = self.peek(0) == '"' && (1..=hashes).all(|i| self.peek(i) == '#');
            if closes {
                for _ in 0..=hashes {
                    self.bump();
                }
                break;
            }
            text.push(self.bump());
        }
        self.emit(Kind::Text, text, line);
    }

    /// A character or a lifetime.
    fn tick(&mut self) {
        let line = self.line;
        self.bump();
        let is_lifetime = is_word_start(self.peek(0)) && self.peek(1) != '\'';
        if is_lifetime {
            while is_word_part(self.peek(0)) {
                self.bump();
            }
        } else {
            if self.bump() == '\\' {
                self.bump();
            }
            // `'\u{1f600}'` goes on; a lone quote ends with its line.
            while !matches!(self.peek(0), '\'' | '\n' | '\0') {
                self.bump();
            }
            self.bump();
        }
        self.emit(Kind::Other, String::new(), line);
    }

    fn word(&mut self) {
        let line = self.line;
        let mut text = String::new();
        while is_word_part(self.peek(0)) {
            text.push(self.bump());
        }
        let mut ahead = 0;
        while self.peek(ahead) == '#' {
            ahead += 1;
        }
        match (text.as_str(), self.peek(0), self.peek(ahead)) {
            ("r" | "br" | "cr", '"' | '#', '"') => self.raw(line),
            ("b" | "c", '"', _) => self.quoted(),
            ("b", '\'', _) => self.tick(),
            ("r", '#', _) if is_word_start(self.peek(1)) => {
                self.bump();
                self.word();
            }
            _ => self.emit(Kind::Word, text, line),
        }
    }

    fn number(&mut self) {
        let line = self.line;
        // The dot of `1.5` belongs to the number, those of `0..n` and `x.0.unwrap()` don't.
        while is_word_part(self.peek(0)) || (self.peek(0) == '.' && self.peek(1).is_ascii_digit()) {
            self.bump();
        }
        self.emit(Kind::Other, String::new(), line);
    }
}

fn is_word_start(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

fn is_word_part(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<String> {
        let tokens = tokens(source).into_iter();
        tokens.filter(Token::is_word).map(|t| t.text).collect()
    }

    #[test]
    fn comments_and_strings_hide_what_is_in_them() {
        let source = r##"
            a // unwrap
            /* unwrap /* nested */ unwrap */ b
            "unwrap \" unwrap" c
            r#"unwrap " unwrap"# d b"unwrap" e br"unwrap" f c"unwrap" g
            '"' h '\'' i b'"' j '\u{22}' k
        "##;
        let expected: Vec<String> = "abcdefghijk".chars().map(String::from).collect();
        assert_eq!(words(source), expected);
    }

    #[test]
    fn a_lifetime_does_not_swallow_the_code_behind_it() {
        assert_eq!(words("fn f<'a>(x: &'a str) {}"), ["fn", "f", "x", "str"]);
        assert_eq!(words("'outer: loop { break 'outer }"), ["loop", "break"]);
    }

    #[test]
    fn a_number_does_not_swallow_a_method() {
        assert_eq!(words("x.0.unwrap()"), ["x", "unwrap"]);
        assert_eq!(words("0..n; 1.5e3; 0xff_u8.max(y)"), ["n", "max", "y"]);
    }

    #[test]
    fn a_raw_word_is_the_word() {
        assert_eq!(words("r#match"), ["match"]);
    }

    #[test]
    fn lines_are_counted_through_strings_and_comments() {
        let source = "/*\n*/ \"a\nb\" r\"\n\" x";
        let tokens = tokens(source);
        assert_eq!(tokens.last().map(|t| t.line), Some(4));
    }

    #[test]
    fn what_is_no_rust_ends() {
        for source in ["\"", "'", "/*", "r#\"", "b'", "r#", "'\\", "\"\\"] {
            tokens(source);
        }
    }
}
