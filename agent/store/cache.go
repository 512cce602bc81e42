package store

import (
	"container/list"
	"io"
	"sync"
)

// cache holds handles of the operating system open for the next one who needs them, never more than max. Whoever finds
// all of them in use waits; therefore nobody may hold two of one cache. It is safe for concurrent use.
type cache[K comparable, V io.Closer] struct {
	max  int
	mu   sync.Mutex
	free sync.Cond // a slot was given up or a handle became idle
	n    int       // slots taken: by handles and by reserve
	open map[K]*handle[K, V]
	idle list.List // of *handle[K, V], the longest idle first
}

type handle[K comparable, V io.Closer] struct {
	key     K
	v       V
	err     error      // why there is no v
	opening sync.Mutex // held until v or err is there
	refs    int
	elem    *list.Element // in idle while refs is 0
}

func newCache[K comparable, V io.Closer](max int) *cache[K, V] {
	c := &cache[K, V]{max: max, open: make(map[K]*handle[K, V])}
	c.free.L = &c.mu
	return c
}

// acquire returns the handle kept under key, opening it if there is none. The caller must release it.
func (c *cache[K, V]) acquire(key K, open func() (V, error)) (*handle[K, V], error) {
	c.mu.Lock()
	for {
		if h := c.open[key]; h != nil {
			h.refs++
			if h.elem != nil {
				c.idle.Remove(h.elem)
				h.elem = nil
			}
			c.mu.Unlock()
			h.opening.Lock()
			err := h.err
			h.opening.Unlock()
			return h, err
		}
		if victim, ok := c.slot(); ok {
			h := &handle[K, V]{key: key, refs: 1}
			h.opening.Lock()
			c.open[key] = h
			c.mu.Unlock()
			victim.close()
			h.v, h.err = open()
			h.opening.Unlock()
			if h.err != nil {
				c.mu.Lock()
				delete(c.open, key)
				c.giveUpSlot()
				c.mu.Unlock()
			}
			return h, h.err
		}
		c.free.Wait()
	}
}

// slot takes a slot if one can be had; the victim, if not nil, must be closed by the caller before the slot is used.
func (c *cache[K, V]) slot() (victim *handle[K, V], ok bool) {
	if c.n < c.max {
		c.n++
		return nil, true
	}
	e := c.idle.Front()
	if e == nil {
		return nil, false
	}
	h := c.idle.Remove(e).(*handle[K, V])
	delete(c.open, h.key)
	return h, true
}

func (c *cache[K, V]) giveUpSlot() {
	c.n--
	c.free.Broadcast()
}

// release gives a handle back that acquire returned without an error.
func (c *cache[K, V]) release(h *handle[K, V]) {
	c.mu.Lock()
	if h.refs--; h.refs == 0 {
		h.elem = c.idle.PushBack(h)
		c.free.Broadcast()
	}
	c.mu.Unlock()
}

// reserve counts one handle that the caller opens and closes himself, until he calls unreserve.
func (c *cache[K, V]) reserve() {
	c.mu.Lock()
	victim, ok := c.slot()
	for !ok {
		c.free.Wait()
		victim, ok = c.slot()
	}
	c.mu.Unlock()
	victim.close()
}

func (c *cache[K, V]) unreserve() {
	c.mu.Lock()
	c.giveUpSlot()
	c.mu.Unlock()
}

// forget closes what is kept under key; nobody may be using it.
func (c *cache[K, V]) forget(key K) {
	c.mu.Lock()
	h := c.open[key]
	if h == nil || h.elem == nil {
		c.mu.Unlock()
		return
	}
	c.idle.Remove(h.elem)
	delete(c.open, key)
	c.mu.Unlock()
	h.close()
	c.unreserve()
}

// closeIdle closes every handle nobody uses.
func (c *cache[K, V]) closeIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.idle.Front(); e != nil; e = c.idle.Front() {
		h := c.idle.Remove(e).(*handle[K, V])
		delete(c.open, h.key)
		h.close()
		c.giveUpSlot()
	}
}

// close drops the error: what was written counts only after a sync, and that reports what went wrong with it.
func (h *handle[K, V]) close() {
	if h != nil {
		h.v.Close()
	}
}
