package manifest

// What a manifest may hold at most. Open refuses more, and Build refuses to make it.
const (
	MaxSize = 64 << 20 // bytes of the manifest file itself

	MaxFiles = 1 << 20 // files and symlinks
	MaxDirs  = 1 << 20 // folders

	MaxPieces      = 1 << 20
	MinPieceLength = 16 << 10 // bytes; one block of a stock client
	MaxPieceLength = 16 << 20 // bytes

	MaxLength = MaxPieces * MaxPieceLength // bytes of all files: 16 TiB

	MaxElement = 255  // bytes of one path element; never more than the 255 UTF-16 units that Windows takes
	MaxPath    = 3072 // bytes of a path within the tree; Linux takes 4,096 with the destination before it
	MaxTarget  = 1024 // bytes of a symlink's target

	MaxText       = 255  // bytes of the package's name, of its version
	MaxOrigins    = 64   // origins of one package
	MaxOriginSize = 2048 // bytes of one origin's URL

	MaxSignatures    = 16
	MaxSignatureSize = 4096 // bytes of one signature's text

	maxTopLevelKeys = 256
	maxLinkHops     = 40 // symlinks passed through on the way to one target; Linux's own limit
)

// Block sizes a package may ask for, in bytes: what one request to a peer asks for at once.
const (
	MinBlockSize = 16 << 10 // what stock clients keep to
	MaxBlockSize = 1 << 20

	defaultBlockSize = 128 << 10 // measured: half again as fast as 16 KiB, at less CPU
)

// PieceLengthFor is the piece length Build takes for a package of total bytes: 64 KiB up to 512 MiB, from there the smallest
// power of two that makes no more than 4,096 pieces, and at most 16 MiB. That is enough for neighbours to have different
// ones to give, and few enough to keep the books cheap: with twice as many, 1 GiB took a tenth more CPU and time on
// loopback. But a room passes on whole pieces: where 128 KiB take a link of 25 Mbit/s 42 ms each, rooms of 8 and 16 need
// 2 % more than with 64 KiB.
func PieceLengthFor(total int64) int64 {
	length := int64(64 << 10)
	if total <= 8192*length {
		return length
	}
	for length < MaxPieceLength && total > 4096*length {
		length *= 2
	}
	return length
}
