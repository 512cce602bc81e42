package sourcetest

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Odd is a server whose answers to ranges are not what they should be, and which has the right bytes all the same.
type Odd struct {
	Name string
	// Answer answers a request for content: for part r of it, or for all of it (r.All).
	Answer func(w http.ResponseWriter, r Part, content []byte)
	// Requests is how many reading a file of 3 MiB once from front to end may take, at most.
	Requests int
}

// Part is what a request asked for.
type Part struct {
	*http.Request
	All         bool // no Range
	First, Last int  // both inclusive
}

// Handler serves files, by path, in the odd way.
func (o Odd) Handler(files map[string][]byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, ok := files[strings.TrimPrefix(r.URL.Path, "/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		p := Part{Request: r, All: true, Last: len(content) - 1}
		if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &p.First, &p.Last); n == 2 {
			p.All = false
		}
		if p.First >= len(content) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", len(content)))
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		p.Last = min(p.Last, len(content)-1)
		o.Answer(w, p, content)
	})
}

// Odds are the odd servers that were met, or could be.
func Odds() []Odd {
	return []Odd{
		{"no ranges", func(w http.ResponseWriter, r Part, c []byte) { whole(w, c) }, 2},
		{"no ranges, no length", func(w http.ResponseWriter, r Part, c []byte) { chunked(w, 200, c) }, 2},
		{"no ranges, closes after each answer", func(w http.ResponseWriter, r Part, c []byte) {
			w.Header().Set("Connection", "close")
			whole(w, c)
		}, 2},
		{"no ranges, HTTP/1.0 without a length", func(w http.ResponseWriter, r Part, c []byte) { old(w, "200 OK", "", c) }, 2},
		{"ranges, HTTP/1.0 without a length", func(w http.ResponseWriter, r Part, c []byte) {
			old(w, "206 Partial Content", "Content-Range: "+r.says(c)+"\r\n", r.of(c))
		}, 2},
		{"shorter: 1 MiB at a time", capped(1<<20, false), 4},
		{"shorter: 100 KB at a time", capped(100_000, false), 6},
		{"shorter: 1,000 bytes at a time", capped(1000, false), 6},
		{"shorter, also where all is asked for", capped(64<<10, true), 60},
		{"shorter than it says, and marked so", func(w http.ResponseWriter, r Part, c []byte) {
			w.Header().Set("Content-Range", r.says(c))
			chunked(w, 206, r.of(c)[:(r.Last-r.First)/2+1])
		}, 45},
		{"longer: to the end of the file", ranged(func(p *Part, c []byte) { p.Last = len(c) - 1 }), 2},
		{"longer: ten bytes", ranged(func(p *Part, c []byte) { p.Last = min(p.Last+10, len(c)-1) }), 2},
		{"longer: from a border of 4 KiB on", ranged(func(p *Part, c []byte) { p.First &^= 4095 }), 2},
		{"longer: from far before", ranged(func(p *Part, c []byte) { p.First /= 2 }), 3},
		{"another part: later", ranged(func(p *Part, c []byte) { p.First = (p.First + p.Last + 1) / 2 }), 3},
		{"another part: the end of the file", ranged(func(p *Part, c []byte) { p.First, p.Last = len(c)-(p.Last-p.First+1), len(c)-1 }), 3},
		{"206 with all, whatever is asked", all206(true), 3},
		{"206 with all, and no Content-Range", all206(false), 3},
		{"206 of unknown length", func(w http.ResponseWriter, r Part, c []byte) {
			w.Header().Set("Content-Range", r.says(c))
			chunked(w, 206, r.of(c))
		}, 2},
		{"206 of a file of unknown length", says(func(r Part, c []byte) string { return fmt.Sprintf("bytes %d-%d/*", r.First, r.Last) }), 2},
		{"no Content-Range", says(func(Part, []byte) string { return "" }), 3},
		{"Content-Range without a unit", says(func(r Part, c []byte) string { return strings.TrimPrefix(r.says(c), "bytes ") }), 3},
		{"Content-Range in octets", says(func(r Part, c []byte) string { return "octets" + strings.TrimPrefix(r.says(c), "bytes") }), 3},
		{"Content-Range without a whole", says(func(r Part, c []byte) string { return fmt.Sprintf("bytes %d-%d", r.First, r.Last) }), 3},
		{"Content-Range as the request has it", says(func(r Part, c []byte) string { return fmt.Sprintf("bytes=%d-%d/%d", r.First, r.Last, len(c)) }), 3},
		{"Content-Range off by one", says(func(r Part, c []byte) string { return fmt.Sprintf("bytes %d-%d/%d", r.First+1, r.Last+1, len(c)+1) }), 3},
		{"Content-Range of another place", says(func(r Part, c []byte) string { return fmt.Sprintf("bytes %d-%d/*", r.First+1<<20, r.Last+1<<20) }), 3},
		{"Content-Range that ends before it begins", says(func(r Part, c []byte) string { return fmt.Sprintf("bytes %d-%d/%d", r.Last+1, r.First, len(c)) }), 3},
		{"Content-Range past the file", says(func(r Part, c []byte) string { return fmt.Sprintf("bytes %d-%d/%d", r.First, r.Last, r.Last) }), 3},
		{"Content-Range past all numbers", says(func(r Part, c []byte) string { return fmt.Sprintf("bytes %d-99999999999999999999/*", r.First) }), 3},
		{"multipart/byteranges", func(w http.ResponseWriter, r Part, c []byte) {
			if r.All {
				whole(w, c)
				return
			}
			var b bytes.Buffer
			m := multipart.NewWriter(&b)
			p, _ := m.CreatePart(textproto.MIMEHeader{"Content-Range": {r.says(c)}})
			p.Write(r.of(c))
			m.Close()
			w.Header().Set("Content-Type", "multipart/byteranges; boundary="+m.Boundary())
			w.WriteHeader(206)
			w.Write(b.Bytes())
		}, 3},
		{"416 to every range", refuses(416), 3},
		{"400 to every range", refuses(400), 3},
		{"501 to every range", refuses(501), 3},
		{"no ranges, and the first answer breaks", breaksOnce(true), 4},
		{"ranges, and the first answer breaks", breaksOnce(false), 3},
	}
}

// says is the right Content-Range.
func (p Part) says(c []byte) string { return fmt.Sprintf("bytes %d-%d/%d", p.First, p.Last, len(c)) }

func (p Part) of(c []byte) []byte { return c[p.First : p.Last+1] }

func whole(w http.ResponseWriter, c []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(c)))
	w.Write(c)
}

// chunked sends without a length, and marks the end.
func chunked(w http.ResponseWriter, status int, c []byte) {
	w.WriteHeader(status)
	w.(http.Flusher).Flush()
	w.Write(c)
}

// old answers as HTTP/1.0 does: the end of the connection is the end of the answer.
func old(w http.ResponseWriter, status, header string, c []byte) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprintf(conn, "HTTP/1.0 %s\r\n%s\r\n", status, header)
	conn.Write(c)
}

// partial answers well.
func partial(w http.ResponseWriter, r Part, c []byte) {
	if r.All {
		whole(w, c)
		return
	}
	w.Header().Set("Content-Range", r.says(c))
	w.Header().Set("Content-Length", strconv.Itoa(len(r.of(c))))
	w.WriteHeader(http.StatusPartialContent)
	w.Write(r.of(c))
}

func ranged(change func(p *Part, c []byte)) func(http.ResponseWriter, Part, []byte) {
	return func(w http.ResponseWriter, r Part, c []byte) {
		if !r.All {
			change(&r, c)
		}
		partial(w, r, c)
	}
}

// capped sends at most so much; of a request for all too.
func capped(most int, always bool) func(http.ResponseWriter, Part, []byte) {
	return func(w http.ResponseWriter, r Part, c []byte) {
		if !r.All || always {
			r.All, r.Last = false, min(r.Last, r.First+most-1)
		}
		partial(w, r, c)
	}
}

// says sends the right bytes with another Content-Range, and a request for all what is right.
func says(what func(r Part, c []byte) string) func(http.ResponseWriter, Part, []byte) {
	return func(w http.ResponseWriter, r Part, c []byte) {
		if r.All {
			whole(w, c)
			return
		}
		if s := what(r, c); s != "" {
			w.Header().Set("Content-Range", s)
		}
		w.WriteHeader(http.StatusPartialContent)
		w.Write(r.of(c))
	}
}

func all206(said bool) func(http.ResponseWriter, Part, []byte) {
	return func(w http.ResponseWriter, _ Part, c []byte) {
		if said {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(c)-1, len(c)))
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(c)))
		w.WriteHeader(http.StatusPartialContent)
		w.Write(c)
	}
}

func refuses(status int) func(http.ResponseWriter, Part, []byte) {
	return func(w http.ResponseWriter, r Part, c []byte) {
		if r.All {
			whole(w, c)
			return
		}
		w.WriteHeader(status)
		io.WriteString(w, "no ranges here")
	}
}

// breaksOnce ends the connection in the middle of the first large answer.
func breaksOnce(front bool) func(http.ResponseWriter, Part, []byte) {
	var once sync.Once
	return func(w http.ResponseWriter, r Part, c []byte) {
		if front {
			r.All, r.First, r.Last = true, 0, len(c)-1
		}
		if len(r.of(c)) > 1<<20 {
			once.Do(func() {
				conn, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					return
				}
				defer conn.Close()
				status, header := "200 OK", ""
				if !r.All {
					status, header = "206 Partial Content", "Content-Range: "+r.says(c)+"\r\n"
				}
				fmt.Fprintf(conn, "HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n", status, header, len(r.of(c)))
				conn.Write(r.of(c)[:len(r.of(c))/2])
				time.Sleep(100 * time.Millisecond) // what was sent arrives
				panic(http.ErrAbortHandler)
			})
		}
		partial(w, r, c)
	}
}
