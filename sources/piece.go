package sources

import (
	"context"

	"golang.org/x/sync/errgroup"

	"handout/manifest"
)

// inFlight is how many reads of one piece or run are under way together on the origin's connection: enough to hide the
// round trips where the protocol multiplexes, and to leave no pause where it queues.
const inFlight = 8

// ReadPiece fills p, as long as piece i of m, from o: one read for each file the piece lies in, several under way
// together. The bytes are not verified. After an error, the first of those that occurred, p's content is undefined.
func ReadPiece(ctx context.Context, o Origin, m *manifest.Manifest, i manifest.PieceIndex, p []byte) error {
	spans := m.Spans(m.PieceOffset(i), int64(len(p)))
	if len(spans) == 1 {
		return o.ReadRange(ctx, filePath(m, spans[0].File), spans[0].Offset, p)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(inFlight)
	for _, s := range spans {
		part := p[:s.Length]
		p = p[s.Length:]
		g.Go(func() error { return o.ReadRange(ctx, filePath(m, s.File), s.Offset, part) })
	}
	return g.Wait()
}

// filePath is where an origin of m has the file: a one-file package's URL names that file itself.
func filePath(m *manifest.Manifest, file int) string {
	if m.Single {
		return ""
	}
	return m.Files[file].Path
}
