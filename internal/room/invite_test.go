// SPDX-License-Identifier: Apache-2.0

package room

import (
	"testing"

	"bavard/internal/jid"
)

func TestInvitation(t *testing.T) {
	room, err := jid.Parse("band@rooms.localhost")
	if err != nil {
		t.Fatal(err)
	}
	for payload, want := range map[string]bool{
		"":                                 false,
		"<body>jabber:x:conference</body>": false,
		"<x xmlns='jabber:x:conference' jid='band@rooms.localhost'/>":                                        true,
		"<body>come</body><x xmlns='jabber:x:conference' jid='BAND@rooms.localhost' reason='we &lt;3 you'/>": true,
		"<x xmlns='jabber:x:conference' jid='other@rooms.localhost'/>":                                       false,
		"<x xmlns='jabber:x:conference'/>":                                                                   false,
		"<body xmlns='jabber:x:conference'><x jid='band@rooms.localhost'/></body>":                           false,
		"<x xmlns='jabber:x:conference' jid='band@rooms.localhost'":                                          false,
	} {
		if got := invitation([]byte(payload), room); got != want {
			t.Errorf("%q: %v", payload, got)
		}
	}
}
