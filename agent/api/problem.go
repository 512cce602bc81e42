package api

import (
	"encoding/json"
	"net/http"
)

// refuse answers with a problem document (RFC 9457).
func refuse(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	write(w, status, Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	write(w, http.StatusOK, v)
}

func write(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain structs of plain values
	}
	w.WriteHeader(status)
	w.Write(append(b, '\n')) // a client that is gone needs no answer
}
