package config

// Output is where windows that are final are told of on site.
type Output struct {
	Kafka OutputKafka
	// Where is true of the windows that are sent. Empty is all.
	Where Text
	// Columns are the aggregates whose answers are sent. Default: all.
	Columns []Ident
	// Steps change the rows that Where leaves, in this order. There may be none.
	Steps []Step
}

// OutputKafka is a topic.
type OutputKafka struct {
	Topic Ident
	// Brokers are addresses to start from. Empty: the brokers of the source, with its SASL and TLS.
	Brokers []string
	SASL    *SASL
	TLS     *TLS
}

// maxOutputs bounds the outputs of a pipeline.
const maxOutputs = 16

func outputTable() object[Output] {
	return object[Output]{
		what: "the output",
		fields: []field[Output]{
			at("kafka", outputKafkaTable().kind(), func(o *Output) *OutputKafka { return &o.Kafka }, "Topic, and brokers if they are not the source's.").must(),
			at("where", located("a condition"), func(o *Output) *Text { return &o.Where },
				"Condition over window_start, window_end, keys and finished aggregates: windows of which it is not true are not sent. Default: all are."),
			at("columns", listOf("a list of aggregates", identKind()), func(o *Output) *[]Ident { return &o.Columns },
				"Aggregates whose answers are sent, and can be in where. Default: all."),
			at("steps", stepsKind(), func(o *Output) *[]Step { return &o.Steps },
				"What happens to the rows that where leaves before they are sent, in order, as steps of the pipeline: filter, map, drop, rename, cast, wasm. None may keep state."),
		},
	}
}

func outputKafkaTable() object[OutputKafka] {
	return object[OutputKafka]{
		what: "kafka",
		fields: []field[OutputKafka]{
			at("topic", identKind(), func(k *OutputKafka) *Ident { return &k.Topic }, "Topic to send to. It must be there.").must(),
			at("brokers", brokersKind(), func(k *OutputKafka) *[]string { return &k.Brokers }, "Addresses host:port to start from. Default: the source's, with its sasl and tls."),
			at("sasl", saslTable().pointer(func() SASL { return SASL{} }), func(k *OutputKafka) **SASL { return &k.SASL }, "How to log in to these brokers."),
			at("tls", tlsKind(), func(k *OutputKafka) **TLS { return &k.TLS }, "true, or how to encrypt and whom to trust."),
		},
		check: func(r *reader, v value, k *OutputKafka) {
			if !topicName.MatchString(k.Topic.Name) || k.Topic.Name == "." || k.Topic.Name == ".." {
				r.addf(k.Topic.Pos, v.path+".topic", "%s.topic: %s is not a topic: use letters, digits, ., _ and -, at most 249", v.path, quote(k.Topic.Name))
			}
			if len(k.Brokers) == 0 && (k.SASL != nil || k.TLS != nil) {
				_ = r.failf(v, "sasl and tls are about brokers of its own").WithHint("name brokers, or leave them out: the source's are used as the source uses them")
			}
		},
	}
}

// checkOutputs finds outputs that would be read by the pipeline itself.
func (p *Pipeline) checkOutputs(add func(Pos, string, string, ...any) *Error) {
	if len(p.Outputs) > maxOutputs {
		add(p.At("outputs"), "outputs", "outputs: %d, and %d are the most", len(p.Outputs), maxOutputs)
	}
	seen := map[string]bool{}
	for i := range p.Outputs {
		k := &p.Outputs[i].Kafka
		if seen[k.Topic.Name] {
			_ = add(k.Topic.Pos, "outputs", "outputs: the topic %s is here twice", quote(k.Topic.Name)).WithHint("join the conditions with ||, or send to another topic")
		}
		seen[k.Topic.Name] = true
		for _, t := range p.Source.Kafka.Topics {
			if len(k.Brokers) == 0 && (t.Name == k.Topic.Name || t.Regex != nil && t.Regex.MatchString(k.Topic.Name)) {
				_ = add(k.Topic.Pos, "outputs", "outputs: the pipeline reads the topic %s, and would read what it sends", quote(k.Topic.Name)).WithHint("send to another one")
			}
		}
	}
}
