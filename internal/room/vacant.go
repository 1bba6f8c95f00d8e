// SPDX-License-Identifier: Apache-2.0

package room

import (
	"context"
	"errors"
	"sync"
	"time"

	"bavard/internal/command"
	"bavard/internal/state"
)

// When a room is looked at that nobody seems to be in any more, in a cell of
// several nodes: after what other nodes have to say of it has had time to come. The
// node whose device left last looks first, so that one removes it.
const (
	vacantHere      = time.Second
	vacantElsewhere = 4 * time.Second
	vacantEvery     = time.Second
	// vacantMost bounds the rooms that wait to be looked at; of more, the next that
	// leaves has them looked at.
	vacantMost = 1 << 14
)

// vacancies are rooms that nobody seems to be in any more.
type vacancies struct {
	mu  sync.Mutex
	due map[string]time.Time
}

func (v *vacancies) add(room string, in time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.due == nil {
		v.due = map[string]time.Time{}
	}
	if _, waits := v.due[room]; waits || len(v.due) < vacantMost {
		v.due[room] = time.Now().Add(in)
	}
}

// take gives the rooms that are due, which wait no more.
func (v *vacancies) take() (rooms []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for room, due := range v.due {
		if !time.Now().Before(due) {
			rooms = append(rooms, room)
			delete(v.due, room)
		}
	}
	return rooms
}

// watchVacant removes temporary rooms that nobody is in on any node (XEP-0045
// §terms-rooms @1.35.5), until ctx ends.
func (h *Hub) watchVacant(ctx context.Context) {
	tick := time.NewTicker(vacantEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, room := range h.vacant.take() {
			if h.vacated(ctx, room) {
				h.vacant.add(room, vacantHere)
			}
		}
	}
}

// vacated removes a temporary room that nobody is in. It reports whether it is to
// be looked at again: nothing is removed while nobody knows who is there.
func (h *Hub) vacated(ctx context.Context, room string) (again bool) {
	if h.Crowd(room) > 0 || h.o.Elsewhere.Crowd(room) > 0 {
		return false // when they leave it is looked at
	}
	st, err := h.o.View.Room(room)
	if err != nil || st.Config.GetPersistent() {
		return err != nil && !errors.Is(err, state.ErrNotFound)
	}
	return !h.o.Elsewhere.Certain() || !h.removed(ctx, room)
}

// removed has a temporary room removed, and reports whether that was decided upon.
func (h *Hub) removed(ctx context.Context, room string) bool {
	ctx, cancel := context.WithTimeout(ctx, commandWithin)
	defer cancel()
	_, err := h.o.Do(ctx, &command.Command{Request: &command.Command_RoomDestroy{RoomDestroy: &command.RoomDestroy{Room: room}}})
	if err != nil && ctx.Err() == nil {
		h.o.Logger.Warn("remove a temporary room", "err", err)
	}
	return err == nil
}
