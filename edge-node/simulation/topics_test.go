package simulation

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// drawRetention has the broker delete the oldest records of a partition, read or not.
func (p *plan) drawRetention(rng *rand.Rand, at time.Duration) {
	part, share := rng.Int32N(p.parts), rng.IntN(101)
	p.add(at, fmt.Sprintf("retention deletes %d%% of what there is of partition %d", share, part), func(w *world) {
		w.deleteRecords(part, share)
	})
}

// deleteRecords has the broker delete so many of 100 records of a partition.
func (w *world) deleteRecords(part int32, share int) {
	w.centre.mu.Lock()
	log := w.logOf(w.places()[part])
	to := log.first + (log.end()-log.first)*int64(share)/100
	log.first, log.firsts = to, append(log.firsts, to)
	w.centre.mu.Unlock()
	if err := w.broker().DeleteRecords(topic, part, to); err != nil {
		w.wrong("the schedule could not delete records: %v", err)
	}
	w.hit(faultRetention)
}

// recreate deletes the topic and makes one of the same name.
func (w *world) recreate() {
	if err := w.broker().DeleteTopic(topic); err != nil {
		w.wrong("the schedule could not delete the topic: %v", err)
	}
	_ = sleep(w.life, time.Duration(w.rand(3))*time.Second)
	if err := w.broker().CreateTopic(topic, w.parts, nil); err != nil {
		w.wrong("the schedule could not make the topic again: %v", err)
	}
	w.newTopic()
	w.admin.PurgeTopicsFromClient(topic)
	w.hit(faultRecreated)
}

// addPartition gives the topic one more.
func (w *world) addPartition() {
	if _, err := w.adm.CreatePartitions(w.life, 1, topic); err != nil {
		w.wrong("the schedule could not add a partition: %v", err)
		return
	}
	w.mu.Lock()
	w.parts++
	w.logs[place{w.topicID, w.parts - 1}] = &remembered{eras: [][]meaning{nil}}
	w.moreStreams()
	w.mu.Unlock()
	w.hit(faultPartitions)
	w.admin.ForceMetadataRefresh()
	_ = sleep(w.life, time.Second) // until the producer knows
}
