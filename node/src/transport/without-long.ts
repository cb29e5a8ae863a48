/** Tells protobufjs to do without Long. A module of its own, because the generated code looks for Long while it loads. */

import protobuf from 'protobufjs/minimal.js';

Reflect.set(protobuf.util, 'Long', null);
protobuf.configure();
